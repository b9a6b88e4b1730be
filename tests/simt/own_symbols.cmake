# Emulated kernels are compiled for the processor of this machine. A function that they share with the rest of the program (a template of the
# standard library, say) could be taken from their copy, and crash on an older processor: they must define nothing that others might use.
execute_process(COMMAND ${NM} -C --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "cannot read the symbols of ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^\n]* [WVuT] [^\n]*" shared "${symbols}")
list(FILTER shared EXCLUDE REGEX "quern::kernels::(emu|race)::")
if(shared)
  list(JOIN shared "\n  " text)
  message(FATAL_ERROR "${LIBRARY} defines, outside of its own namespace:\n  ${text}")
endif()
