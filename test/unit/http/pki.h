#pragma once
// A throw-away PKI in files, for tests.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace keelson::test {

class Pki {
 public:
  Pki() {
    char name[] = "/tmp/keelson-pki-XXXXXX";
    directory_ = mkdtemp(name);
    ca_key_ = EVP_EC_gen("P-256");
    ca_ = make("test CA", {}, ca_key_, nullptr, true);
    write_cert("ca", ca_);
  }
  ~Pki() {
    X509_free(ca_);
    EVP_PKEY_free(ca_key_);
    std::filesystem::remove_all(directory_);
  }
  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  // A file's text.
  std::string text(const std::string& name) const {
    std::ostringstream out;
    out << std::ifstream(path(name)).rdbuf();
    return out.str();
  }
  // <name>.crt and <name>.key, signed by the CA, for 127.0.0.1 and localhost.
  void issue(const std::string& name, const std::string& common_name, const std::string& organization) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = make(common_name, organization, key, ca_, false);
    write_cert(name, certificate);
    FILE* file = fopen(path(name + ".key").c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

 private:
  X509* make(const std::string& common_name, const std::string& organization, EVP_PKEY* key, X509* issuer, bool is_ca) {
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    auto* subject = X509_get_subject_name(certificate);
    const auto add = [&](const char* field, const std::string& text) {
      X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.c_str()),
                                 -1, -1, 0);
    };
    if (!organization.empty()) add("O", organization);
    add("CN", common_name);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate));
    const auto extend = [&](int nid, const char* value) {
      X509V3_CTX context;
      X509V3_set_ctx(&context, issuer ? issuer : certificate, certificate, nullptr, nullptr, 0);
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
      X509_add_ext(certificate, extension, -1);
      X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (!is_ca) extend(NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    X509_sign(certificate, ca_key_, EVP_sha256());
    return certificate;
  }
  void write_cert(const std::string& name, X509* certificate) {
    FILE* file = fopen(path(name + ".crt").c_str(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
  }
  std::filesystem::path directory_;
  EVP_PKEY* ca_key_ = nullptr;
  X509* ca_ = nullptr;
  int serial_ = 0;
};

}  // namespace keelson::test
