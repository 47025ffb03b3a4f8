# The puller's half is tested in this process.
target_link_libraries(unit_agent_images PRIVATE keelson-agent-images-puller)
