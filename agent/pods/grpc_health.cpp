#include "agent/pods/grpc_health.h"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace keelson::pods {
namespace {

constexpr size_t kPrefix = 5;         // of a message: whether it is compressed, and its length
constexpr size_t kMaxMessage = 4096;  // a status takes seven bytes

// HealthCheckRequest: 1 service.
std::string request_for(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';
    size_t length = service.size();
    for (; length >= 128; length >>= 7) message += static_cast<char>((length & 127) | 128);
    message += static_cast<char>(length);
    message += service;
  }
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift & 0xff);
  return out + message;
}

// HealthCheckResponse: 1 status, absent when it is 0.
CheckResult judge(std::string_view message) {
  constexpr std::array kNames = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  const size_t status = message.size() == 2 && message[0] == '\x08' ? static_cast<unsigned char>(message[1]) : 0;
  if (status == 1) return {.success = true, .output = {}};
  return {.success = false,
          .output = fmt::format("service unhealthy (responded with \"{}\")",
                                status < kNames.size() ? kNames[status] : std::to_string(status))};
}

class HealthCall : public http::H2Exchange {
 public:
  HealthCall(std::string authority, std::function<void(CheckResult)> done)
      : authority_(std::move(authority)), done_(std::move(done)) {}

  void on_news() override {
    auto result = verdict();
    if (!result) return;
    cancel();
    const auto done = std::move(done_);  // it may destroy us
    done(std::move(*result));
  }

 private:
  // Nothing: there is more to come.
  std::optional<CheckResult> verdict() const {
    const auto failed = [](std::string why) { return CheckResult{.success = false, .output = std::move(why)}; };
    if (received.size() > kMaxMessage) return failed("the answer is too long");
    if (received.size() >= kPrefix) {
      if (received[0] != '\0') return failed("a compressed answer, which was not asked for");
      size_t size = 0;
      for (size_t i = 1; i < kPrefix; ++i) size = size << 8 | static_cast<unsigned char>(received[i]);
      // A call that went well has a message before its end; what follows it is not waited for.
      if (received.size() - kPrefix >= size) return judge(std::string_view(received).substr(kPrefix, size));
    }
    if (!end) return std::nullopt;
    if (!end->complete) {
      const bool foreign = !end->unseen && !headers.has(":status");
      return failed(fmt::format("{}: {}{}", authority_, end->why, foreign ? " (is it a gRPC server?)" : ""));
    }
    const auto status = headers.get("grpc-status");  // google.golang.org/grpc/codes
    std::string why =
        status.empty() ? fmt::format("HTTP status {}", headers.get(":status")) : fmt::format("gRPC status {}", status);
    if (status == "5") why = "it does not know the service";
    if (status == "12") why = "it has no grpc.health.v1.Health";
    return failed("the server gave no health status: " + why);
  }

  const std::string authority_;
  std::function<void(CheckResult)> done_;
};

}  // namespace

void ask_grpc_health(http::H2Channel& channel, const std::string& authority, const std::string& service,
                     std::function<void(CheckResult)> done) {
  channel.begin(std::make_shared<HealthCall>(authority, std::move(done)),
                {{":method", "POST"},
                 {":scheme", "http"},
                 {":path", "/grpc.health.v1.Health/Check"},
                 {":authority", authority},
                 {"te", "trailers"},
                 {"content-type", "application/grpc"},
                 {"user-agent", "kube-probe/1.30"}},
                request_for(service), true);
}

}  // namespace keelson::pods
