# test/integration/*_test.cpp: one program each, build/bin/integration_<name>. They need
# root. Those of a single room link that room; sandbox.h is for those that run the agent.
add_library(test-sandbox STATIC ${CMAKE_SOURCE_DIR}/test/integration/sandbox.cpp)
target_link_libraries(test-sandbox PUBLIC keelson-host Boost::unit_test_framework)
target_compile_definitions(test-sandbox PUBLIC BOOST_TEST_DYN_LINK KEELSON_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
add_custom_target(integration-tests)
file(GLOB integration_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/integration/*_test.cpp)
foreach(source ${integration_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_test" "" name ${name})
  add_executable(integration_${name} ${source})
  add_dependencies(integration-tests integration_${name})
  if(name MATCHES "^apiserver")  # of the master's rooms: below
    target_link_libraries(integration_${name} PRIVATE test-main)
    continue()
  endif()
  target_link_libraries(integration_${name} PRIVATE test-main test-sandbox keelson-agent-sources keelson-agent-pods
  target_link_libraries(integration_${name} PRIVATE test-main)
  target_compile_definitions(integration_${name} PRIVATE BOOST_TEST_DYN_LINK)
  if(name MATCHES "^(etcd_child|master)$") # which know no agent
    continue()
  endif()
  target_link_libraries(integration_${name} PRIVATE test-sandbox keelson-agent-sources keelson-agent-pods
    keelson-agent-runtime keelson-agent-images keelson-agent-network keelson-agent-proxy keelson-agent-server)
  add_dependencies(integration_${name} keelson-puller)
endforeach()
target_link_libraries(integration_images PRIVATE keelson-agent-images-puller)
target_link_libraries(integration_reflector PRIVATE keelson-apiclient)
# api_rig.h: a real API server within the test.
add_library(test-api-rig STATIC ${CMAKE_SOURCE_DIR}/test/integration/api_rig.cpp)
target_link_libraries(test-api-rig PUBLIC keelson-master-apiserver Boost::unit_test_framework)
target_compile_definitions(test-api-rig PUBLIC BOOST_TEST_DYN_LINK)
target_link_libraries(integration_apiserver PRIVATE test-api-rig)
target_link_libraries(integration_etcd_child PRIVATE keelson-master-etcd_child keelson-etcd)
add_library(test-master-box STATIC ${CMAKE_SOURCE_DIR}/test/integration/master_box.cpp)
target_link_libraries(test-master-box PUBLIC keelson-host Boost::unit_test_framework)
target_compile_definitions(test-master-box PUBLIC BOOST_TEST_DYN_LINK)
target_link_libraries(integration_master PRIVATE test-master-box)
add_dependencies(integration_master keelson-master)
