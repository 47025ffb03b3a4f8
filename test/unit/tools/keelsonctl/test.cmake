# agent_client_test talks to the agent's real API, with doubles behind it.
target_link_libraries(unit_tools_keelsonctl PRIVATE keelson-agent-server)
