# quern_find_nvidia(NAME cudnn HEADER cudnn.h LIBRARY libcudnn.so* ROOT path): where a library of NVIDIA's and its headers
# lie. They are looked for under ROOT alone if it is given; else in the CUDA toolkit, in /usr (Debian's and Ubuntu's
# packages, NVIDIA's too), and in Python's nvidia-* wheels. Sets QUERN_<NAME>_INCLUDE_DIR, empty where there is none, and
# QUERN_<NAME>_FOLDERS: the folders of the shared library, as C++ string literals separated by commas.
#
# Nothing is linked: programs open the library when they first need it (src/providers/nvidia/dynamic_library.hpp).
function(quern_find_nvidia)
  cmake_parse_arguments(ARG "" "NAME;HEADER;LIBRARY;ROOT" "" ${ARGN})
  string(TOUPPER ${ARG_NAME} upper)
  if(ARG_ROOT)
    set(prefixes ${ARG_ROOT})
  else()
    set(prefixes ${CUDAToolkit_LIBRARY_ROOT} ${CUDAToolkit_BIN_DIR}/.. /usr/local /usr)
    # site-packages of the python3 on PATH, the user's included.
    execute_process(
      COMMAND python3 -c "import site; print(';'.join(site.getsitepackages() + [site.getusersitepackages()]))"
      OUTPUT_VARIABLE packages OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
    if(status EQUAL 0)
      foreach(folder ${packages})
        list(APPEND prefixes ${folder}/nvidia/${ARG_NAME} ${folder}/nvidia/cu13)
      endforeach()
    endif()
  endif()
  set(include_dir "")
  set(folders "")
  foreach(prefix ${prefixes})
    foreach(suffix include include/${CMAKE_LIBRARY_ARCHITECTURE} targets/x86_64-linux/include)
      if(NOT include_dir AND EXISTS ${prefix}/${suffix}/${ARG_HEADER})
        file(REAL_PATH ${prefix}/${suffix} include_dir)
      endif()
    endforeach()
    foreach(suffix lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE} targets/x86_64-linux/lib)
      file(GLOB found ${prefix}/${suffix}/${ARG_LIBRARY})
      if(found)
        file(REAL_PATH ${prefix}/${suffix} folder)
        list(APPEND folders "\"${folder}\"")
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES folders)
  list(JOIN folders "," folders)
  set(QUERN_${upper}_INCLUDE_DIR "${include_dir}" PARENT_SCOPE)
  set(QUERN_${upper}_FOLDERS "${folders}" PARENT_SCOPE)
endfunction()
