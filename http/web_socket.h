#pragma once
// The making of a WebSocket from an upgraded connection. Only http/*.cpp include it.

#include <functional>
#include <memory>
#include <string>

#include "http/any_stream.h"
#include "http/server.h"

namespace keelson::http {

// Answers the handshake, whose header was `head` (already judged to be one), and goes on
// from there. `gone` is called once when the connection has ended, whatever happens to
// the handle. Destroying or aborting the state breaks it off.
std::shared_ptr<WebSocket::State> begin_web_socket(AnyStream stream, const std::string& head, std::string subprotocol,
                                                   size_t queue_limit, std::function<void()> gone);
void abort_web_socket(WebSocket::State& state);

}  // namespace keelson::http
