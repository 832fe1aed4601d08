# SPDX-License-Identifier: Apache-2.0
"""Programs whose pages the guest reads from the host again and again are still what they are (decision 26)."""
import subprocess

SEEDS = (1, 2, 3, 5)
ROUNDS = 40
FUNCTIONS = 2000
# Each program is half a megabyte of code that differs from the others' in its numbers only.
SOURCE = """
#include <stdio.h>
#define F(n) __attribute__((noinline)) static int f##n(int x) { \\
  int s = SEED + n; for (int i = 0; i < 50; ++i) s = s * (2 * n + 3 + SEED) + x + i; return s; }
%s
static int (*const table[])(int) = {%s};
int main(int argc, char** argv) {
  (void)argv;
  unsigned sum = 0;
  for (unsigned i = 0; i < sizeof(table) / sizeof(*table); ++i) sum = sum * 31 + (unsigned)table[i](argc);
  printf("%%u\\n", sum);
  return 0;
}
"""
SCRIPT = """
n=0
while [ $n -lt {rounds} ]; do
  for seed in {seeds}; do
    echo 3 >/proc/sys/vm/drop_caches
    said=$(/v/p$seed 2>/dev/null)
    echo "$seed $? $said"
  done
  n=$((n + 1))
done
"""


def build(directory, seed):
    source = directory / f"p{seed}.c"
    numbers = range(FUNCTIONS)
    source.write_text(SOURCE % ("\n".join(f"F({n})" for n in numbers), ", ".join(f"f{n}" for n in numbers)), encoding="utf-8")
    program = directory / f"p{seed}"
    subprocess.run(["gcc", "-O1", "-static", f"-DSEED={seed}", "-o", program, source], check=True)
    return subprocess.check_output([program], text=True).strip()


def test_programs_that_are_read_anew_are_themselves(kata, tmp_path):
    wanted = {seed: build(tmp_path, seed) for seed in SEEDS}
    assert len(set(wanted.values())) == len(SEEDS)
    tmp_path.chmod(0o755)
    script = SCRIPT.format(rounds=ROUNDS, seeds=" ".join(map(str, SEEDS)))
    mount = f"type=bind,src={tmp_path},dst=/v,options=rbind:ro"
    with kata.container(flags=("--privileged", "--mount", mount)) as identity:
        done = kata.exec(identity, "sh", "-c", script, timeout=600)
    assert done.code == 0, done.err
    expected = [f"{seed} 0 {wanted[seed]}" for _ in range(ROUNDS) for seed in SEEDS]
    wrong = [line for line, good in zip(done.out.decode().splitlines(), expected) if line.strip() != good]
    assert not wrong and len(done.out.splitlines()) == len(expected), f"{len(wrong)} of {len(expected)}: {wrong[:5]}"
