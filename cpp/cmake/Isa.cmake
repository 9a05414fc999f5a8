# metaspan_isa(target): the instruction set chosen by METASPAN_ISA, on x86-64; elsewhere the compiler's default.
function(metaspan_isa target)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    target_compile_options(${target} PRIVATE -march=${METASPAN_ISA})
    target_compile_definitions(${target} PRIVATE METASPAN_BUILT_FOR="${METASPAN_ISA}")
  else()
    target_compile_definitions(${target} PRIVATE METASPAN_BUILT_FOR="")
  endif()
endfunction()
