# `cmake --install` and what find_package(quern) needs. A program links quern::quern, which brings every library of
# this build; each library can also be linked by itself as quern::quern_<name>.

include(CMakePackageConfigHelpers)

set(quern_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
get_property(quern_libraries GLOBAL PROPERTY QUERN_LIBRARIES)
list(FILTER quern_libraries EXCLUDE REGEX "^quern_test_")  # kernels that only tests run

add_library(quern INTERFACE)
add_library(quern::quern ALIAS quern)
target_compile_features(quern INTERFACE cxx_std_20)
# nlohmann_json: public headers name its types.
target_link_libraries(quern INTERFACE ${quern_libraries} nlohmann_json::nlohmann_json)

install(TARGETS quern ${quern_libraries} EXPORT quernTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT quernTargets NAMESPACE quern:: DESTINATION ${quern_config_dir})
install(DIRECTORY include/quern DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
# The program looks for these beside itself, in ../share/quern.
install(DIRECTORY data/models data/mnist DESTINATION ${CMAKE_INSTALL_DATADIR}/quern)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The static libraries pass their own dependencies on to whoever links them.
set(quern_dependencies fmt nlohmann_json ZLIB PNG "OpenMP COMPONENTS CXX" Threads)
foreach(optional dnnl CLI11)
  if(${optional}_FOUND)
    list(APPEND quern_dependencies ${optional})
  endif()
endforeach()
if(QUERN_HAVE_CUDA)
  list(APPEND quern_dependencies CUDAToolkit)
endif()
list(TRANSFORM quern_dependencies REPLACE "(.+)" "find_dependency(\\1)")
list(JOIN quern_dependencies "\n" QUERN_FIND_DEPENDENCIES)

configure_package_config_file(cmake/quernConfig.cmake.in ${PROJECT_BINARY_DIR}/quernConfig.cmake
  INSTALL_DESTINATION ${quern_config_dir} PATH_VARS CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/quernConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quernConfig.cmake ${PROJECT_BINARY_DIR}/quernConfigVersion.cmake
  DESTINATION ${quern_config_dir})
