#pragma once
// grpc.health.v1.Health/Check as a probe asks it: one call over HTTP/2 without TLS.
// Pure: what is to be sent comes back as bytes, what was received goes in. Source:
// the gRPC health checking protocol, gRPC over HTTP2, RFC 9113, RFC 7541.

#include <string>
#include <string_view>

namespace keelson::pods {

// The connection's preface and the call.
std::string grpc_health_request(const std::string& authority, const std::string& service);

class GrpcHealthAnswer {
 public:
  enum class Verdict { open, serving, failed };

  // The next bytes; what they ask us to send is appended to `reply`. After a verdict
  // nothing more is read.
  Verdict take(std::string_view bytes, std::string& reply);
  // Why it failed.
  const std::string& reason() const { return reason_; }

 private:
  Verdict frame(unsigned type, unsigned flags, std::string_view payload, std::string& reply);
  Verdict judge();
  Verdict fail(std::string reason);

  std::string buffer_;   // frames that are not whole yet
  std::string message_;  // the answer's, with its prefix of five bytes
  std::string reason_;
};

}  // namespace keelson::pods
