# See CMakeLists.txt beside this file. Any step that fails ends the script with an error.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE output)
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
# Moved, so that a path of the first place that was written down anywhere is found out.
file(RENAME ${WORK_DIR}/prefix ${WORK_DIR}/moved)

run(${CMAKE_COMMAND} -S ${CONSUMER_DIR} -B ${WORK_DIR}/build -G ${GENERATOR} -DCMAKE_BUILD_TYPE=Release
  -DCMAKE_CXX_COMPILER=${CXX_COMPILER} -DCMAKE_PREFIX_PATH=${WORK_DIR}/moved -DQUERN_WANTED_VERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
run(${WORK_DIR}/build/consumer)
message(STATUS "${output}")
if(NOT output MATCHES "quern ${VERSION}\n")
  message(FATAL_ERROR "the program that found quern ${VERSION} printed: ${output}")
endif()

# The manual page is that of this program.
file(READ ${WORK_DIR}/moved/${MANDIR}/man1/quern.1 page)
if(NOT page MATCHES "\\.TH QUERN 1 [^\n]*quern ${VERSION}" OR NOT page MATCHES "quern train")
  message(FATAL_ERROR "the installed manual page is none of quern ${VERSION}")
endif()

# Data and model that were installed, through the session and the trainer.
run(${WORK_DIR}/build/train_and_predict ${WORK_DIR}/moved/share/quern/mnist
  ${WORK_DIR}/moved/share/quern/models/lenet5.json)
message(STATUS "${output}")

# The installed program works on the models that were installed with it, away from the source tree.
run(${CMAKE_COMMAND} -E chdir ${WORK_DIR} ${CMAKE_COMMAND} -E env --unset=QUERN_DATA
  ${WORK_DIR}/moved/${BINDIR}/quern models)
file(REAL_PATH ${WORK_DIR}/moved/share/quern/models models)
string(FIND "${output}" "seed-bn" row)
string(FIND "${output}" "${models}" folder)
if(row EQUAL -1 OR folder EQUAL -1)
  message(FATAL_ERROR "the installed program does not list the seed-bn of ${models}: ${output}")
endif()
