# keelson-etcd: the client, without gRPC. libkeelson-etcd.so: its transport, with gRPC, which the client
# loads by dlopen(3) when a cluster is named: linking libgrpc++ would cost every agent several MB of memory,
# channel or not (docs/decisions.md has the figures).
file(GLOB etcd_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/etcd/*.cpp)
set(etcd_module_sources ${CMAKE_SOURCE_DIR}/etcd/grpc_transport.cpp)
list(REMOVE_ITEM etcd_sources ${etcd_module_sources})
if(etcd_sources)
  add_library(keelson-etcd STATIC ${etcd_sources})
  target_link_libraries(keelson-etcd PUBLIC keelson-host ${CMAKE_DL_LIBS})
else()
  add_library(keelson-etcd INTERFACE)
  target_link_libraries(keelson-etcd INTERFACE keelson-host)
endif()

if(EXISTS ${etcd_module_sources})
  set(etcd_generated ${CMAKE_BINARY_DIR}/etcd)
  file(MAKE_DIRECTORY ${etcd_generated})
  set(etcd_rpc ${etcd_generated}/rpc.pb.cc ${etcd_generated}/rpc.grpc.pb.cc)
  find_program(PROTOC protoc REQUIRED)
  find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
  add_custom_command(
    OUTPUT ${etcd_rpc} ${etcd_generated}/rpc.pb.h ${etcd_generated}/rpc.grpc.pb.h
    COMMAND ${PROTOC} -I ${CMAKE_SOURCE_DIR}/etcd --cpp_out=${etcd_generated} --grpc_out=${etcd_generated}
            --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN} ${CMAKE_SOURCE_DIR}/etcd/rpc.proto
    DEPENDS ${CMAKE_SOURCE_DIR}/etcd/rpc.proto
    COMMENT "Generating etcd/rpc.pb.h"
    VERBATIM)
  # The generators' code answers to its generators' warnings, not to ours.
  set_source_files_properties(${etcd_rpc} PROPERTIES COMPILE_OPTIONS "-w" SKIP_UNITY_BUILD_INCLUSION ON)
  add_library(keelson-etcd-module MODULE ${etcd_module_sources} ${etcd_rpc})
  set_target_properties(keelson-etcd-module PROPERTIES OUTPUT_NAME keelson-etcd LIBRARY_OUTPUT_DIRECTORY
                                                       ${CMAKE_BINARY_DIR}/lib/keelson CXX_VISIBILITY_PRESET hidden)
  target_link_libraries(keelson-etcd-module PRIVATE PkgConfig::GRPC protobuf::libprotobuf-lite fmt::fmt)
  # The module is found beside whatever was linked with the client, so it is built whenever the client is.
  add_dependencies(keelson-etcd keelson-etcd-module)
  install(TARGETS keelson-etcd-module LIBRARY DESTINATION lib/keelson COMPONENT agent)
  install(TARGETS keelson-etcd-module LIBRARY DESTINATION lib/keelson-master COMPONENT master)
endif()
