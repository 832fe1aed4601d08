# SPDX-License-Identifier: Apache-2.0
"""The processor that a container sees runs what distributions build for: x86-64-v2 at least, where the host has it."""
import platform
import subprocess

import pytest

import harness

# The words of x86-64-v2 in /proc/cpuinfo.
V2_FLAGS = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
# Says 42 by instructions that came with the second level.
PROGRAM = """
#include <nmmintrin.h>
#include <smmintrin.h>
#include <stdio.h>
int main(int argc, char **argv) {
  __m128i text = _mm_loadu_si128((const __m128i *)"find the comma, ");
  int at = _mm_cmpistri(_mm_set1_epi8(','), text, _SIDD_CMP_EQUAL_EACH);
  int low = _mm_extract_epi32(_mm_mullo_epi32(_mm_set1_epi32(argc), _mm_set1_epi32(at)), 0);
  printf("%d\\n", low + (int)_mm_popcnt_u64(0xfffffff0fffffff0ull >> (argc - 1)) - 28);
  return 0;
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86-64")
def test_code_of_x86_64_v2_runs(kata):
    source = kata.directory / "v2.c"
    source.write_text(PROGRAM)
    program = kata.directory / "v2"
    try:
        subprocess.run(["gcc", "-O1", "-static", "-march=x86-64-v2", source, "-o", program], check=True)
        expected = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        result = kata.run("sh", "-c", "grep -m 1 ^flags /proc/cpuinfo && /v2",
                          flags=("--mount", f"type=bind,src={program},dst=/v2,options=bind:ro"))
    finally:
        source.unlink(missing_ok=True)
        program.unlink(missing_ok=True)

    assert result.code == 0, result.err
    flags, answer = result.out.decode().splitlines()
    assert V2_FLAGS <= set(flags.split()), V2_FLAGS - set(flags.split())
    assert answer + "\n" == expected
