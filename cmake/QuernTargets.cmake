# Helpers that give every target of the project the same language level, warnings and sanitizers.

add_library(quern_options INTERFACE)
add_library(quern_warnings INTERFACE)
target_compile_options(quern_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -Wnon-virtual-dtor
    -Woverloaded-virtual -Wdouble-promotion -Wimplicit-fallthrough>)
if(QUERN_WERROR)
  target_compile_options(quern_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(QUERN_SANITIZE STREQUAL "address")
  target_compile_options(quern_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(quern_options INTERFACE -fsanitize=address,undefined)
elseif(QUERN_SANITIZE STREQUAL "thread")
  target_compile_options(quern_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=thread>)
  target_link_options(quern_options INTERFACE -fsanitize=thread)
elseif(NOT QUERN_SANITIZE STREQUAL "")
  message(FATAL_ERROR "QUERN_SANITIZE is '${QUERN_SANITIZE}': use address, thread, or leave it empty")
endif()

# quern_library(NAME SOURCES ... PUBLIC ... PRIVATE ...): one internal static library.
function(quern_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} $<BUILD_INTERFACE:quern_options>
    PRIVATE ${ARG_PRIVATE} $<BUILD_INTERFACE:quern_warnings>)
  set_property(GLOBAL APPEND PROPERTY QUERN_LIBRARIES ${name})
endfunction()

# quern_cold(TARGET [SANITIZED]): nothing in it is hot, so that optimising what large header libraries put into it, a third
# of the time to compile it, is saved: in release builds, and under sanitizers; or under these only.
function(quern_cold target)
  if(NOT QUERN_SANITIZE STREQUAL "")
    target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:RelWithDebInfo>>:-O0>)
  elseif(NOT "SANITIZED" IN_LIST ARGN)
    # At -O1 g++ 12 believes in writes beyond the ends of std::string that -O3 disproves.
    target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1 -Wno-array-bounds
      -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-maybe-uninitialized>)
  endif()
endfunction()

# quern_test(NAME SOURCES ... LIBRARIES ... [LABELS ...] [TIMEOUT seconds]): one GoogleTest program; each of its
# tests becomes a CTest test. QUERN_SOURCE_DIR is defined for tests that read files of the tree. The target
# tests-LABEL builds all programs of a label.
function(quern_test name)
  if(NOT TARGET quern_test_headers)
    # GoogleTest's headers, read once for all programs. A program too, so that it is compiled as they are.
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/quern_test_headers.cpp CONTENT "int main() {}\n")
    add_executable(quern_test_headers ${PROJECT_BINARY_DIR}/quern_test_headers.cpp)
    target_link_libraries(quern_test_headers PRIVATE quern_options quern_warnings GTest::gmock)
    quern_cold(quern_test_headers)
    target_precompile_headers(quern_test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  quern_cold(${name})  # what it tests is hot, it is not
  target_compile_definitions(${name} PRIVATE QUERN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} quern_options quern_warnings GTest::gmock GTest::gtest_main)
  if(NOT "OpenMP::OpenMP_CXX" IN_LIST ARG_LIBRARIES)  # which would take them with other settings
    target_precompile_headers(${name} REUSE_FROM quern_test_headers)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 120 PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  foreach(label ${ARG_LABELS})
    if(NOT TARGET tests-${label})
      add_custom_target(tests-${label})
    endif()
    add_dependencies(tests-${label} ${name})
  endforeach()
  if(ARG_LABELS)
    # gtest_discover_tests keeps only the first of several labels, so they are set on the list of tests it leaves.
    set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
    file(WRITE ${labels_file} "foreach(test IN LISTS ${name}_TESTS)\n"
      "  set_tests_properties(\"\${test}\" PROPERTIES LABELS \"${ARG_LABELS}\")\nendforeach()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
  endif()
endfunction()
