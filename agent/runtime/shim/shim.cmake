# podshim: static and small, without what the C++ runtime brings along. Sanitizers do not
# go with -static and single-digit megabytes; the protocol's decoder is fuzzed in tests.
file(GLOB shim_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
add_executable(podshim ${shim_sources})
target_compile_options(podshim PRIVATE -Os -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-asynchronous-unwind-tables
                       -fno-sanitize=all -fomit-frame-pointer -ffunction-sections -fdata-sections)
target_link_options(podshim PRIVATE -static -fno-sanitize=all -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-z,norelro)
set_target_properties(podshim PROPERTIES LINKER_LANGUAGE C)
