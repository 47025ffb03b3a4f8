add_executable(keelson-puller agent/images/puller/main.cpp)
target_link_libraries(keelson-puller PRIVATE keelson-agent-images-puller)
# keelsonctl doctor reads the agent's flags too.
add_library(keelson-agent-options STATIC agent/options.cpp)
target_compile_definitions(keelson-agent-options PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelson-agent-options PUBLIC keelson-host keelson-flags)
add_executable(keelson-agent agent/main.cpp agent/agent.cpp agent/agent_state.cpp agent/agent_cluster.cpp
  agent/agent_inside.cpp agent/described_node.cpp)
target_compile_definitions(keelson-agent PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelson-agent PRIVATE keelson-agent-sources keelson-agent-pods keelson-agent-runtime
  keelson-agent-images keelson-agent-network keelson-agent-proxy keelson-agent-server
  keelson-agent-node keelson-agent-cluster keelson-agent-options)
