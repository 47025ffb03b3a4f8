# podshim: static and small, without what the C++ runtime brings along, and with musl in the place of glibc (85 kB of
# text against 835; docs/decisions.md). Sanitizers do not go with that; the protocol's decoder is fuzzed in tests.
file(GLOB shim_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
add_executable(podshim ${shim_sources})

# Of the compiler's own include directories only its built-in headers and those of C++ stay; the kernel's (linux/,
# asm/) come last, behind musl's.
string(REPLACE "-gnu" "-musl" musl_triple "${CMAKE_LIBRARY_ARCHITECTURE}")
set(musl_include /usr/include/${musl_triple})
set(musl_lib /usr/lib/${musl_triple})
if(NOT EXISTS ${musl_lib}/libc.a)
  message(FATAL_ERROR "podshim is built with musl, and ${musl_lib}/libc.a is not there: install musl-dev")
endif()
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=include OUTPUT_VARIABLE builtin_include
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(ask_libgcc -print-libgcc-file-name)
if(CMAKE_C_COMPILER_ID STREQUAL Clang)
  list(PREPEND ask_libgcc --rtlib=libgcc)
endif()
execute_process(COMMAND ${CMAKE_C_COMPILER} ${ask_libgcc} OUTPUT_VARIABLE libgcc
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(shim_includes -nostdinc)
foreach(directory ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
  if(directory MATCHES "/c\\+\\+/")
    list(APPEND shim_includes "SHELL:-isystem ${directory}")
  endif()
endforeach()
list(APPEND shim_includes "SHELL:-isystem ${musl_include}" "SHELL:-isystem ${builtin_include}"
     "SHELL:-idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}" "SHELL:-idirafter /usr/include")
# __GLIBC_PREREQ: libstdc++'s headers ask glibc's version without asking whether it is glibc. sign-compare: musl's
# CMSG_NXTHDR, which clang warns of.
target_compile_options(podshim PRIVATE ${shim_includes} "-D__GLIBC_PREREQ(major,minor)=0"
                       -Os -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-asynchronous-unwind-tables
                       -fno-sanitize=all -fomit-frame-pointer -ffunction-sections -fdata-sections -fno-pie
                       -fno-stack-protector -U_FORTIFY_SOURCE -Wno-sign-compare)
target_link_options(podshim PRIVATE -nostdlib -static $<$<C_COMPILER_ID:GNU>:-no-pie> -fno-sanitize=all -Wl,--gc-sections
                    -Wl,-z,noseparate-code -Wl,-z,norelro)
target_link_libraries(podshim PRIVATE ${musl_lib}/crt1.o ${musl_lib}/crti.o ${musl_lib}/libc.a ${libgcc}
                      ${musl_lib}/crtn.o)
set_target_properties(podshim PROPERTIES LINKER_LANGUAGE C)
