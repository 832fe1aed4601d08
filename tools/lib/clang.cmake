# SPDX-License-Identifier: Apache-2.0
# The compiler: clang 16, which is the one of record (docs/decisions/0020-clang-16.md), or the first later one that there is.
foreach(version 16 17 18 19 20 21)
  find_program(KATA_CLANG_${version} clang++-${version})
  if(KATA_CLANG_${version})
    set(CMAKE_CXX_COMPILER ${KATA_CLANG_${version}})
    set(CMAKE_EXE_LINKER_FLAGS_INIT -fuse-ld=lld-${version})
    return()
  endif()
endforeach()
message(FATAL_ERROR "no clang++ of version 16 to 21: tools/install-packages build")
