#include "http/tls.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ssl/context.hpp>

namespace keelson::http {

namespace {

namespace ssl = boost::asio::ssl;

std::unexpected<host::Error> tls_fail(const std::string& what) {
  std::string reason = "unknown TLS error";
  // The first of the queue is where it began.
  if (const auto code = ERR_peek_error(); code != 0) {
    char text[256];
    ERR_error_string_n(code, text, sizeof text);
    reason = ERR_reason_error_string(code) ? ERR_reason_error_string(code) : text;
  }
  ERR_clear_error();
  return host::fail(host::Error::Code::invalid, fmt::format("{}: {}", what, reason));
}

bool is_address(const std::string& name) {
  in6_addr address;
  return inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

host::Status load_identity(SSL_CTX* context, const std::string& cert_file, const std::string& key_file) {
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, cert_file.c_str()) != 1) return tls_fail(cert_file);
  if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1) return tls_fail(key_file);
  if (SSL_CTX_check_private_key(context) != 1) return tls_fail(fmt::format("{} with {}", cert_file, key_file));
  return {};
}

// Every certificate of a PEM text, in order.
host::Result<std::vector<std::unique_ptr<X509, decltype(&X509_free)>>> certificates(const std::string& pem,
                                                                                    const std::string& what) {
  ERR_clear_error();
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                       &BIO_free);
  std::vector<std::unique_ptr<X509, decltype(&X509_free)>> all;
  while (X509* one = PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr)) all.emplace_back(one, &X509_free);
  // "No start line" is how it says that the text is at its end.
  if (all.empty() || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return tls_fail(what);
  ERR_clear_error();
  return all;
}

// As load_identity(), each of the two from its text when there is one.
host::Status load_client_identity(SSL_CTX* context, const ClientTls& settings) {
  const std::string cert_name = settings.cert_data.empty() ? settings.cert_file : "the client certificate";
  const std::string key_name = settings.key_data.empty() ? settings.key_file : "the client key";
  ERR_clear_error();
  if (settings.cert_data.empty()) {
    if (SSL_CTX_use_certificate_chain_file(context, cert_name.c_str()) != 1) return tls_fail(cert_name);
  } else {
    auto chain = certificates(settings.cert_data, cert_name);
    if (!chain) return std::unexpected(std::move(chain.error()));
    if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) return tls_fail(cert_name);
    for (size_t i = 1; i < chain->size(); ++i) {
      if (SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) != 1) return tls_fail(cert_name);
    }
  }
  if (settings.key_data.empty()) {
    if (SSL_CTX_use_PrivateKey_file(context, key_name.c_str(), SSL_FILETYPE_PEM) != 1) return tls_fail(key_name);
  } else {
    const std::unique_ptr<BIO, decltype(&BIO_free)> text(
        BIO_new_mem_buf(settings.key_data.data(), static_cast<int>(settings.key_data.size())), &BIO_free);
    const auto no_password = [](char*, int, int, void*) { return 0; };
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        PEM_read_bio_PrivateKey(text.get(), nullptr, no_password, nullptr), &EVP_PKEY_free);
    if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) return tls_fail(key_name);
  }
  if (SSL_CTX_check_private_key(context) != 1) return tls_fail(fmt::format("{} with {}", cert_name, key_name));
  return {};
}

std::vector<std::string> subject_entries(X509* certificate, int nid) {
  std::vector<std::string> entries;
  auto* subject = X509_get_subject_name(certificate);
  for (int at = X509_NAME_get_index_by_NID(subject, nid, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(subject, nid, at)) {
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size >= 0) entries.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return entries;
}

}  // namespace

host::Result<std::shared_ptr<ssl::context>> server_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  auto* raw = context->native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
  if (auto loaded = load_identity(raw, files.cert_file, files.key_file); !loaded) {
    return std::unexpected(loaded.error());
  }
  // Without it a resumed session with a client certificate fails the handshake.
  static constexpr unsigned char kSessions[] = "keelson";
  SSL_CTX_set_session_id_context(raw, kSessions, sizeof kSessions - 1);
  if (!files.client_ca_file.empty()) {
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(raw, files.client_ca_file.c_str()) != 1) return tls_fail(files.client_ca_file);
    SSL_CTX_set_client_CA_list(raw, SSL_load_client_CA_file(files.client_ca_file.c_str()));
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);  // a token may stand in for a certificate
  }
  return context;
}

host::Result<std::shared_ptr<ssl::context>> client_context(const ClientTls& settings) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  auto* raw = context->native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  ERR_clear_error();
  if (!settings.verify) {
    SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
    if (!settings.ca_data.empty()) {
      auto trusted = certificates(settings.ca_data, "the server's CA");
      if (!trusted) return std::unexpected(std::move(trusted.error()));
      for (const auto& one : *trusted) X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), one.get());
    } else if (settings.ca_file.empty()) {
      SSL_CTX_set_default_verify_paths(raw);
    } else if (SSL_CTX_load_verify_file(raw, settings.ca_file.c_str()) != 1) {
      return tls_fail(settings.ca_file);
    }
  }
  if (!settings.cert_file.empty() || !settings.cert_data.empty()) {
    if (auto loaded = load_client_identity(raw, settings); !loaded) return std::unexpected(std::move(loaded.error()));
  }
  return context;
}

host::Status expect_server_name(SSL* connection, const std::string& name, bool verify) {
  ERR_clear_error();
  if (is_address(name)) {
    if (verify && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), name.c_str()) != 1) return tls_fail(name);
    return {};
  }
  if (SSL_set_tlsext_host_name(connection, name.c_str()) != 1) return tls_fail(name);
  if (verify && SSL_set1_host(connection, name.c_str()) != 1) return tls_fail(name);
  return {};
}

std::optional<std::string> certificate_refusal(SSL* connection) {
  const auto verdict = SSL_get_verify_result(connection);
  if (verdict == X509_V_OK) return std::nullopt;
  return fmt::format("the server's certificate: {}", X509_verify_cert_error_string(verdict));
}

std::optional<ClientCertificate> peer_certificate(SSL* connection) {
  X509* certificate = SSL_get0_peer_certificate(connection);
  if (certificate == nullptr || SSL_get_verify_result(connection) != X509_V_OK) return std::nullopt;
  ClientCertificate subject;
  if (auto names = subject_entries(certificate, NID_commonName); !names.empty()) {
    subject.common_name = std::move(names.front());
  }
  subject.organizations = subject_entries(certificate, NID_organizationName);
  return subject;
}

}  // namespace keelson::http
