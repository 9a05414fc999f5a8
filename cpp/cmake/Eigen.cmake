# Finds Eigen3::Eigen: in Eigen3_DIR or Eigen3_ROOT if one is set, otherwise in the cmeel-eigen wheel
# of the running Python, otherwise in the system. find_package gets no version, since the config
# files of Eigen 3.4 and 5 read version ranges differently; it is checked afterwards.
if(NOT Eigen3_DIR AND NOT Eigen3_ROOT AND NOT DEFINED ENV{Eigen3_ROOT})
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND
      "${Python_EXECUTABLE}" -c
      "import pathlib, sys
prefixes = (pathlib.Path(p) / 'cmeel.prefix' for p in sys.path)
config = 'share/eigen3/cmake/Eigen3Config.cmake'
print(next((p.as_posix() for p in prefixes if (p / config).is_file()), ''))"
    OUTPUT_VARIABLE METASPAN_CMEEL_PREFIX
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(METASPAN_CMEEL_PREFIX)
    list(PREPEND CMAKE_PREFIX_PATH "${METASPAN_CMEEL_PREFIX}")
  endif()
endif()
find_package(Eigen3 CONFIG REQUIRED)
if(Eigen3_VERSION VERSION_LESS 3.4)
  message(FATAL_ERROR "Eigen 3.4 or newer is needed; found ${Eigen3_VERSION} in ${Eigen3_DIR}")
endif()
