#pragma once
// Everything that the node is asked to bring about, from all manifest sources: file,
// URL, etcd, the API server, HTTP push. The facade of this room: main makes one, hands its
// state to the pods and the proxy, its push calls to the HTTP server.
//
// Loop's thread. Each source's last set is kept under <root-dir>/sources/, so that a
// reboot works offline: until a source has spoken, its stored set stands for it.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sources/manifest_source.h"
#include "agent/sources/policy.h"
#include "agent/sources/push_source.h"
#include "api/object.h"
#include "host/file.h"
#include "host/loop.h"
#include "host/metrics.h"
#include "http/client.h"

namespace keelson::sources {

struct Settings {
  std::string node_name;
  host::Path root_dir = "/var/lib/keelson";

  host::Path manifest_path;  // a directory or a file; empty: no file source
  host::Duration file_check = std::chrono::seconds(20);

  std::string manifest_url;  // empty: no URL source
  std::vector<std::pair<std::string, std::string>> manifest_url_headers;
  host::Duration http_check = std::chrono::seconds(20);
  http::ClientTls manifest_url_tls;

  std::vector<std::string> etcd_servers;  // empty: no etcd source
  std::string etcd_prefix;                // empty: /registry/hosts/<node name>/
  host::Path etcd_ca_file, etcd_cert_file, etcd_key_file;

  std::string api_server;  // its URL, for display; empty: no apiserver source

  bool push = true;

  SourcePolicy policy;
  Limits limits;
  host::Metrics* metrics = nullptr;  // keelson_source_…; must outlive the Sources
};

// "Key: value", as --manifest-url-header has it (kubelet: "Key:value", several).
host::Result<std::pair<std::string, std::string>> parse_url_header(std::string_view text);

struct SourceStatus {
  std::string name;
  std::string location;  // path, URL without its password, servers and prefix
  bool spoken = false;   // since our start
  bool stored = false;   // a set from before our start stands, or stood
  std::optional<api::Time> last_spoke;
  std::string last_error;  // empty once it speaks again
  std::optional<api::Time> last_error_at;
  size_t documents = 0, objects = 0, errors = 0, warnings = 0;
  uint64_t spoke_total = 0, failed_total = 0;
};

class Sources {
 public:
  // Reads the stored sets (blocking) and starts the sources. `changed` is called with the
  // whole state whenever it differs, once per turn of the loop at most, never inside
  // create(); and also when a source speaks for the first time, so that the receiver may
  // ask has_spoken() again. It fails on settings that cannot work (a URL that is none,
  // certificates that cannot be read), never because a source is away.
  static host::Result<std::unique_ptr<Sources>> create(host::Loop& loop, Settings settings,
                                                       std::function<void(const api::DesiredState&)> changed);
  ~Sources();
  Sources(const Sources&) = delete;
  Sources& operator=(const Sources&) = delete;

  const api::DesiredState& state() const;

  // Every source has spoken, or its stored set stands for it.
  bool synced() const;
  // An object of that source which is not in state() is not wanted: the source has spoken,
  // or its stored set stands, or there is no such source any more. While this is false, a
  // running pod that came from the source is left alone.
  bool has_spoken(std::string_view source) const;

  std::vector<api::Problem> problems() const;
  std::vector<SourceStatus> status() const;

  // What the API server has bound to this node; see apiserver_source.h.
  void api_server_spoke(DocumentSet set);
  void api_server_failed(const host::Error& error);

  // HTTP push; see push_source.h. Unsupported when the push source is off.
  void push_store(PushRequest request, PushCallback done);
  void push_remove(const api::ObjectKey& key, RemoveCallback done);

 private:
  struct Impl;
  explicit Sources(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with workers' answers, which may come after we are gone
};

}  // namespace keelson::sources
