#pragma once
// TLS contexts from PEM files, and what a peer's certificate says. Any thread.

#include <memory>
#include <optional>
#include <string>

#include "host/error.h"
#include "http/client.h"
#include "http/server.h"

namespace boost::asio::ssl {
class context;
}
struct ssl_st;

namespace keelson::http {

// TLS 1.2 at least, no renegotiation. Errors name the file.
host::Result<std::shared_ptr<boost::asio::ssl::context>> server_context(const TlsFiles& files);
host::Result<std::shared_ptr<boost::asio::ssl::context>> client_context(const ClientTls& settings);

// For a client: the name for SNI (none for an address) and the one the certificate
// must carry, when it is verified at all.
host::Status expect_server_name(ssl_st* connection, const std::string& name, bool verify);

// After a handshake that failed: why the peer's certificate was not taken; nothing when that was not the reason.
std::optional<std::string> certificate_refusal(ssl_st* connection);

// The verified certificate of the peer; nothing when it has shown none.
std::optional<ClientCertificate> peer_certificate(ssl_st* connection);

}  // namespace keelson::http
