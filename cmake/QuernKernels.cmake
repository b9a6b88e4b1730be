# Kernel sources, compiled once for each target that this build has:
#   <name>_emu    C++, for the SIMT emulator
#   <name>_race   the same with every memory access reported to the emulator's race detector
#   <name>_cuda   nvcc, where CUDA is there


# Emulated kernels live on fused multiply-adds and vectors: use them where this machine has them. The program then says so
# instead of crashing on an older one.
set(QUERN_EMU_ARCH_FLAGS "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND NOT CMAKE_CROSSCOMPILING)
  include(CheckCXXSourceRuns)
  check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\") &&
    __builtin_cpu_supports(\"bmi2\") ? 0 : 1; }" QUERN_MACHINE_IS_X86_64_V3)
  if(QUERN_MACHINE_IS_X86_64_V3)
    set(QUERN_EMU_ARCH_FLAGS -march=x86-64-v3)
  endif()
endif()

# The instrumentation of the race copies is ThreadSanitizer's, whose runtime would take the place of the hooks, and which
# no other sanitizer goes with.
set(QUERN_HAVE_RACES ON)
if(NOT QUERN_SANITIZE STREQUAL "")
  set(QUERN_HAVE_RACES OFF)
endif()

set(QUERN_EMU_FLAGS ${QUERN_EMU_ARCH_FLAGS}
  -ftls-model=initial-exec  # threadIdx and its kin; the kernels are linked into the program, never loaded later
  -ffp-contract=off         # the same bits with and without fused multiply-adds in the machine
  -g1                       # lines for reports of crashes
  -fno-strict-aliasing      # kernels read floats as float4
  -Wno-unknown-pragmas      # #pragma unroll
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)

# Every emulated copy reads its source through a one-line file of its own, because a .cu file has one language in a directory.
function(quern_emulated_copy library target sources includes)
  set(wrappers "")
  foreach(source ${sources})
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    get_filename_component(stem ${source} NAME_WE)
    set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/${library}/${stem}.cpp)
    file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${path}\"\n")
    list(APPEND wrappers ${wrapper})
  endforeach()
  add_library(${library} STATIC ${wrappers})
  target_compile_definitions(${library} PRIVATE QUERN_TARGET=${target})
  target_compile_options(${library} PRIVATE ${QUERN_EMU_FLAGS} $<$<CONFIG:Debug>:-Og>)
  target_include_directories(${library} PRIVATE ${includes} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${library} PUBLIC quern_simt PRIVATE $<BUILD_INTERFACE:quern_warnings>)
endfunction()

# quern_kernel_library(NAME SOURCES a.cu b.cu ... [INCLUDES directory ...]): defines INTERFACE library NAME over
# <name>_emu, <name>_race and <name>_cuda, with QUERN_HAVE_RACES and QUERN_HAVE_CUDA defined for its users where
# those exist.
function(quern_kernel_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;INCLUDES" ${ARGN})
  add_library(${name} INTERFACE)
  quern_emulated_copy(${name}_emu emu "${ARG_SOURCES}" "${ARG_INCLUDES}")
  target_link_libraries(${name}_emu PRIVATE $<BUILD_INTERFACE:quern_options>)
  set(parts ${name}_emu)
  if(QUERN_HAVE_RACES)
    # Not linked with -fsanitize=thread: src/simt/race_hooks.cpp answers the calls. Debug information is for its reports;
    # binutils 2.40 takes the wrapper for the source in version 5 of the format.
    quern_emulated_copy(${name}_race race "${ARG_SOURCES}" "${ARG_INCLUDES}")
    target_compile_options(${name}_race PRIVATE -fsanitize=thread -g2 -gdwarf-4 -O1 -fno-tree-loop-distribute-patterns
      -fno-omit-frame-pointer)
    target_compile_definitions(${name} INTERFACE QUERN_HAVE_RACES)
    list(APPEND parts ${name}_race)
  endif()
  if(QUERN_HAVE_CUDA)
    add_library(${name}_cuda STATIC ${ARG_SOURCES})
    target_compile_definitions(${name}_cuda PRIVATE QUERN_TARGET=cuda)
    target_include_directories(${name}_cuda PRIVATE ${ARG_INCLUDES} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
    target_compile_options(${name}_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda --expt-relaxed-constexpr
      -lineinfo -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter -Xptxas=-warn-spills>)
    if(QUERN_WERROR)
      target_compile_options(${name}_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xptxas=-Werror>)
    endif()
    target_link_libraries(${name}_cuda PUBLIC quern_device PRIVATE CUDA::cudart_static)
    target_compile_definitions(${name} INTERFACE QUERN_HAVE_CUDA)
    list(APPEND parts ${name}_cuda)
  endif()
  target_link_libraries(${name} INTERFACE ${parts})
  set_property(GLOBAL APPEND PROPERTY QUERN_LIBRARIES ${parts})
endfunction()
