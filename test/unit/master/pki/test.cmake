target_link_libraries(unit_master_pki PRIVATE OpenSSL::Crypto)
