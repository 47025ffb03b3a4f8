# Static, and so without sanitizers: it is the only content of the quickstart's image
# beside busybox.
add_executable(demo-echo tools/demo-echo/demo_echo.cpp)
target_compile_options(demo-echo PRIVATE -Os -fno-sanitize=all)
target_link_options(demo-echo PRIVATE -static -fno-sanitize=all)
