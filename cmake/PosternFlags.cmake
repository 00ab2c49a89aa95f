# Warnings are errors in our own code; system headers are not ours.
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                    -Wnon-virtual-dtor -Woverloaded-virtual -Werror)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms of g++ 14 about std::vector that it inlined into a loop; clang and ASan watch there.
  add_compile_options(-Wno-error=stringop-overflow -Wno-error=array-bounds)
endif()

# Hardening of every build; _FORTIFY_SOURCE needs optimisation and collides with the sanitizers.
add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection)
add_compile_definitions(_GLIBCXX_ASSERTIONS)
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_link_options(-pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack)

if(POSTERN_SANITIZE)
  add_compile_options(-fsanitize=${POSTERN_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${POSTERN_SANITIZE})
endif()

# What the libraries are compiled with so that libFuzzer sees where an input leads. The unit tests
# run on the same objects: nothing is compiled twice for fuzz/.
if(POSTERN_FUZZ)
  set(POSTERN_FUZZ_OPTIONS -fsanitize=fuzzer-no-link)
endif()
