# pybind11 from -Dpybind11_DIR or pybind11_ROOT, else from the wheel in the environment of the running Python, else
# from the system.
if(NOT pybind11_DIR AND NOT pybind11_ROOT AND NOT DEFINED ENV{pybind11_ROOT})
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
    OUTPUT_VARIABLE METASPAN_PYBIND11_DIR
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET)
endif()
find_package(pybind11 CONFIG REQUIRED HINTS "${METASPAN_PYBIND11_DIR}")
