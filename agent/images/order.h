#pragma once
// What the store and its puller say to each other. The order: one line of JSON on the
// puller's stdin (credentials are never in argv). Its answers: lines of JSON on stdout:
// {"layer":"sha256:…"}, to which the store answers with a newline on stdin once the layer
// is in the store; {"image":{…}}; {"error":{…}}; {"done":true}.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/cri.h"
#include "host/error.h"

namespace keelson::images {

// The puller's descriptors: staging directory, layers, locks, partial downloads, and the
// file or directory to import.
inline constexpr int kStaging = 3, kLayers = 4, kLocks = 5, kPartial = 6, kInput = 7;
inline constexpr size_t kMaxOrderLine = 1u << 20;

struct PullRequest {
  std::string reference;  // pull: normalised text; import: the name given, or empty
  bool import = false;
  std::vector<api::RegistryCredential> credentials;
  std::vector<std::string> insecure_registries;  // host[:port]: plain HTTP is allowed
  std::string ca_file;                           // PEM, beside the system's; empty: the system's alone
};

struct Order {
  PullRequest request;
  pid_t parent = 0;
  uint64_t bytes = 0, inodes = 0;  // what it may use
};
std::string encode(const Order& order);  // with the line's end
host::Result<Order> decode_order(std::string_view text);

// Error codes by name.
const char* name_of(host::Error::Code code);
host::Error::Code code_of(std::string_view name);  // failed, when it is none

// Lines from a pipe, of bounded length.
class LineReader {
 public:
  explicit LineReader(int fd) : fd_(fd) {}
  // One read(2); then take lines until there is none. False at the end.
  host::Result<bool> fill();
  std::optional<std::string> take();

 private:
  int fd_;
  std::string buffer_;
};

}  // namespace keelson::images
