# find_package(Oarlock): the target Oarlock::oarlock, the C++ API of the oarlock that the Python interpreter has.
#
#     cmake -S . -B build -DOarlock_DIR=$(python -m oarlock_xpu.config --cmake) [-DPython_EXECUTABLE=…]
if(NOT Python_EXECUTABLE)
  find_program(Python_EXECUTABLE NAMES python3 python REQUIRED)
endif()
foreach(what includes libraries)
  execute_process(COMMAND "${Python_EXECUTABLE}" -m oarlock_xpu.config --${what}
    OUTPUT_VARIABLE Oarlock_${what} ERROR_VARIABLE Oarlock_error RESULT_VARIABLE Oarlock_failed OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(Oarlock_failed)
    set(Oarlock_FOUND FALSE)
    set(Oarlock_NOT_FOUND_MESSAGE "${Python_EXECUTABLE} -m oarlock_xpu.config --${what} failed: ${Oarlock_error}")
    return()
  endif()
endforeach()
string(REGEX REPLACE "\n.*" "" Oarlock_library_dir "${Oarlock_libraries}")
if(NOT TARGET Oarlock::oarlock)
  add_library(Oarlock::oarlock SHARED IMPORTED)
  set_target_properties(Oarlock::oarlock PROPERTIES
    IMPORTED_LOCATION "${Oarlock_library_dir}/liboarlock.so"
    INTERFACE_INCLUDE_DIRECTORIES "${Oarlock_includes}"
    INTERFACE_COMPILE_FEATURES cxx_std_17)
endif()
set(Oarlock_FOUND TRUE)
