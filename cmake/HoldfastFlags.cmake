# Warnings are errors everywhere; sanitizers and coverage come from the preset through HF_SANITIZE
# and HF_COVERAGE, so that no folder speaks of them.
set(HF_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
option(HF_COVERAGE "Instrument for coverage" OFF)

add_compile_options(
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wundef -Wvla -Wformat=2 -Wwrite-strings -Wno-missing-field-initializers
  -fno-strict-aliasing -fstack-protector-strong -fno-omit-frame-pointer)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # Messages are cut on purpose (struct hf_errmsg); clang does not know the warning.
  add_compile_options(-Wno-format-truncation)
endif()
add_compile_definitions(_GNU_SOURCE HF_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR})
add_link_options(-Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(HF_SANITIZE)
  add_compile_options(-fsanitize=${HF_SANITIZE} -fno-sanitize-recover=all)
  # It does not see fences (of the ring's wakes); it says so once a fence, which is an error here.
  if(HF_SANITIZE STREQUAL "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)
  endif()
  add_link_options(-fsanitize=${HF_SANITIZE})
endif()
if(HF_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
if(HF_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
