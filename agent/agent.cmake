add_executable(keelson-agent agent/main.cpp agent/options.cpp)
target_compile_definitions(keelson-agent PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelson-agent PRIVATE keelson-agent-sources keelson-agent-pods keelson-agent-runtime
  keelson-agent-images keelson-agent-network keelson-agent-proxy keelson-agent-server PkgConfig::YAML)
