# What compilers and linkers offer against the exploitation of errors that the tests did not find. Each flag is asked for
# first and left out where the compiler has none; the programs' own test (tests/harden) says what arrived in them.
# Sets QUERN_HARDENED. Builds for sanitizers and fuzzing are left alone: those have their own checks in the same places.

set(QUERN_HARDENED OFF)
if(NOT QUERN_HARDEN OR NOT QUERN_SANITIZE STREQUAL "" OR QUERN_FUZZ)
  return()
endif()
set(QUERN_HARDENED ON)

include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)

# Position-independent objects are asked for by the top CMakeLists.txt; this makes the programs position-independent too.
check_pie_supported(LANGUAGES CXX)

set(quern_harden_flags "")
foreach(flag stack-protector-strong stack-clash-protection cf-protection=full)
  string(MAKE_C_IDENTIFIER "QUERN_HAVE_${flag}" have)
  check_cxx_compiler_flag(-f${flag} ${have})
  if(${have})
    list(APPEND quern_harden_flags -f${flag})
  endif()
endforeach()

# The C library's checked functions (memcpy, read, snprintf, ...): level 3 also knows sizes that are computed at run time. They
# need an optimising compiler. Some distributions define a level of their own, which gives way.
foreach(level 3 2)
  set(CMAKE_REQUIRED_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level}")
  check_cxx_source_compiles("#include <string.h>
    #if !defined(__USE_FORTIFY_LEVEL) || __USE_FORTIFY_LEVEL != ${level}
    #error the C library has no such level
    #endif
    int main() {}" QUERN_HAVE_FORTIFY_${level})
  unset(CMAKE_REQUIRED_FLAGS)
  if(QUERN_HAVE_FORTIFY_${level})
    set(optimised $<NOT:$<CONFIG:Debug>>)
    list(APPEND quern_harden_flags $<${optimised}:-U_FORTIFY_SOURCE> $<${optimised}:-D_FORTIFY_SOURCE=${level}>)
    break()
  endif()
endforeach()

# Relocations are all done at start and read-only from then on; no memory is writable and executable.
set(quern_harden_links "")
foreach(word relro now noexecstack)
  check_linker_flag(CXX "LINKER:-z,${word}" QUERN_HAVE_LINK_${word})
  if(QUERN_HAVE_LINK_${word})
    list(APPEND quern_harden_links "LINKER:-z,${word}")
  endif()
endforeach()

foreach(flag ${quern_harden_flags})
  target_compile_options(quern_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${flag}>)
endforeach()
# Bounds of vectors, spans, strings and optionals.
target_compile_definitions(quern_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
target_link_options(quern_options INTERFACE ${quern_harden_links})
