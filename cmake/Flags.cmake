# Compiler flags, in one INTERFACE target. Each hardening flag is probed, since gcc 12 and clang 14 know different sets.
include(CheckCCompilerFlag)

add_library(nexus_flags INTERFACE)
target_include_directories(nexus_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(nexus_flags INTERFACE _GNU_SOURCE)
target_compile_options(nexus_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wcast-qual -Wwrite-strings -Wmissing-prototypes
  -Wstrict-prototypes -Wundef -Wswitch-enum -Wformat=2 -Werror=format-security -Wimplicit-fallthrough
  -Wnull-dereference -Werror
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -fno-strict-overflow -fno-delete-null-pointer-checks)

function(nexus_probe flag)
  string(MAKE_C_IDENTIFIER "HAVE${flag}" var)
  check_c_compiler_flag("-Werror ${flag}" ${var})
  if(${var})
    target_compile_options(nexus_flags INTERFACE ${flag})
  endif()
endfunction()

foreach(flag -Wbidi-chars=any -Wtrampolines)
  nexus_probe(${flag})
endforeach()

if(NEXUS_SANITIZE)
  target_compile_options(nexus_flags INTERFACE -fsanitize=${NEXUS_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -O1 -g)
  target_link_options(nexus_flags INTERFACE -fsanitize=${NEXUS_SANITIZE})
  # Sanitizers and _FORTIFY_SOURCE intercept the same functions; the sanitizer sees more.
else()
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero)
    nexus_probe(${flag})
  endforeach()
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(nexus_flags INTERFACE -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  endif()
  target_link_options(nexus_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,--as-needed)
endif()

if(NEXUS_COVERAGE)
  target_compile_options(nexus_flags INTERFACE --coverage -O0)
  target_link_options(nexus_flags INTERFACE --coverage)
endif()
if(NEXUS_FUZZ)
  target_compile_options(nexus_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Position independent executables need both the compiler's and the linker's word (-pie).
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()
