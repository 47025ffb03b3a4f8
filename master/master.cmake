add_library(keelson-master-main STATIC master/options.cpp master/setup.cpp master/identity.cpp)
target_compile_definitions(keelson-master-main PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelson-master-main PUBLIC keelson-host keelson-api keelson-http keelson-flags keelson-master-pki)
add_executable(keelson-master master/main.cpp master/components.cpp)
target_compile_definitions(keelson-master PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelson-master PRIVATE keelson-master-main keelson-master-apiserver keelson-master-etcd_child
  keelson-master-scheduler keelson-master-controllers keelson-master-election keelson-apiclient)
