# metaspan_level_here(result): sets `result` to the highest level that the building processor
# supports, by the rule of the loader. A cross-compilation cannot ask it and gets x86-64-v3.
function(metaspan_level_here result)
  set(level x86-64-v3)
  if(NOT CMAKE_CROSSCOMPILING)
    try_run(METASPAN_LEVEL_RUNS METASPAN_LEVEL_COMPILES ${CMAKE_CURRENT_BINARY_DIR}/highest_level
      ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../bind/highest_level.cpp
      CXX_STANDARD 17
      RUN_OUTPUT_VARIABLE highest)
    if(METASPAN_LEVEL_COMPILES AND METASPAN_LEVEL_RUNS EQUAL 0)
      string(STRIP "${highest}" level)
    endif()
  endif()
  set(${result} ${level} PARENT_SCOPE)
endfunction()

# metaspan_levels(result): sets `result` to the levels of METASPAN_ISA, lowest first, as suffixes of
# targets and modules: a list of v2, v3 and v4; or native; or baseline if the target is not x86-64.
function(metaspan_levels result)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    set(${result} baseline PARENT_SCOPE)
    return()
  endif()
  set(levels ${METASPAN_ISA})
  if("${levels}" STREQUAL "" OR "${levels}" STREQUAL "auto")
    metaspan_level_here(levels)
  endif()
  if("${levels}" STREQUAL "native")
    set(${result} native PARENT_SCOPE)
    return()
  endif()
  list(REMOVE_DUPLICATES levels)
  list(SORT levels)
  foreach(level IN LISTS levels)
    if(NOT level MATCHES "^x86-64-v[234]$")
      message(FATAL_ERROR "METASPAN_ISA must be auto, native, or a list of x86-64-v2, x86-64-v3 and "
        "x86-64-v4 with semicolons between them; got '${METASPAN_ISA}'")
    endif()
  endforeach()
  list(TRANSFORM levels REPLACE "x86-64-" "")
  set(${result} ${levels} PARENT_SCOPE)
endfunction()

# metaspan_level_name(level result): sets `result` to the users' name of a level: x86-64-v3 for v3.
function(metaspan_level_name level result)
  string(REGEX REPLACE "^v" "x86-64-v" name ${level})
  set(${result} ${name} PARENT_SCOPE)
endfunction()

# metaspan_isa(target level): compiles a target for a level, whose name METASPAN_BUILT_FOR holds.
function(metaspan_isa target level)
  metaspan_level_name(${level} name)
  target_compile_definitions(${target} PRIVATE METASPAN_BUILT_FOR="${name}")
  if(NOT level STREQUAL "baseline")
    target_compile_options(${target} PRIVATE -march=${name})
  endif()
  if(level STREQUAL "v4" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC warns about its own AVX-512 header.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
endfunction()
