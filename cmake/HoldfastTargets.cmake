# hf_library(NAME SOURCES ... LINK ...): a static library of one folder.
function(hf_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC ${A_LINK})
endfunction()

# hf_program(NAME SOURCES ... LINK ...): a program, in build/<preset>/bin.
function(hf_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LINK})
endfunction()

# hf_test(NAME LABEL unit|sim|crash|e2e|fuzz|golden|bench SOURCES ... LINK ... [ARGS ...] [TIMEOUT s]):
# a cmocka test program under ctest.
function(hf_test name)
  cmake_parse_arguments(A "" "LABEL;TIMEOUT" "SOURCES;LINK;ARGS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LINK} PkgConfig::CMOCKA)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${A_LABEL} TIMEOUT ${A_TIMEOUT})
endfunction()

# hf_fuzz(NAME SOURCES ... LINK ... CORPUS dir): a fuzz target. With HF_FUZZ it is a libFuzzer
# program; without, tests/fuzz/replay_main.c feeds it every file of its corpus under ctest.
function(hf_fuzz name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;LINK" ${ARGN})
  if(HF_FUZZ)
    add_executable(${name} ${A_SOURCES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${A_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    add_test(NAME ${name} COMMAND ${name} ${A_CORPUS})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
  target_link_libraries(${name} PRIVATE ${A_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()

# hf_script_test(NAME LABEL e2e SCRIPT file [ARGS ...] [TIMEOUT s]): a test that is one script. It
# finds the build folder in HF_BUILD; exit status 77 says that it skipped, and it says why.
function(hf_script_test name)
  cmake_parse_arguments(A "" "LABEL;TIMEOUT;SCRIPT" "ARGS" ${ARGN})
  add_test(NAME ${name} COMMAND ${A_SCRIPT} ${A_ARGS} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${A_LABEL} TIMEOUT ${A_TIMEOUT}
    ENVIRONMENT HF_BUILD=${CMAKE_BINARY_DIR} SKIP_RETURN_CODE 77)
endfunction()

# hf_proto(TARGET file.proto ...): C sources of the messages, generated into the build folder and
# included as "proto/<name>.pb-c.h".
function(hf_proto_sources out)
  set(sources)
  foreach(file ${ARGN})
    get_filename_component(stem ${file} NAME_WE)
    set(base ${CMAKE_BINARY_DIR}/generated/proto/${stem}.pb-c)
    add_custom_command(OUTPUT ${base}.c ${base}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/generated/proto
      COMMAND ${PROTOC_C} --c_out=${CMAKE_BINARY_DIR}/generated -I ${CMAKE_SOURCE_DIR}
              proto/${stem}.proto
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${stem}.proto
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_source_files_properties(${base}.c PROPERTIES COMPILE_OPTIONS "-w")
    list(APPEND sources ${base}.c)
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()
