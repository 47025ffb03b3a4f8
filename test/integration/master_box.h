#pragma once
// Where integration tests run a master: a network of its own with one address, a data
// directory, and the ways in: kubectl, curl. Destroying it ends the master, and checks that
// nothing of it is left.
//
//   BOOST_FIXTURE_TEST_CASE(a_master_starts, MasterBox) {
//     start();
//     BOOST_TEST(contains(kubectl({"get", "namespaces"}).out, "kube-system"));
//   }

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "host/process.h"

namespace keelson::test {

class MasterBox {
 public:
  static constexpr const char* kAddress = "192.0.2.10";
  static constexpr const char* kUrl = "https://192.0.2.10:6443";

  MasterBox();
  ~MasterBox();
  MasterBox(const MasterBox&) = delete;
  MasterBox& operator=(const MasterBox&) = delete;

  // Flags beyond the box's own, with the API server alone (say --components for more). Waits
  // until it is ready.
  void start(const std::vector<std::string>& flags = {});
  // Without waiting.
  void launch(const std::vector<std::string>& flags = {});
  bool ready();
  // The same, but it is expected to end by itself, or to print something and end.
  host::Output run_to_its_end(const std::vector<std::string>& arguments);
  int stop(int signal);  // sends it and waits for the end; its wait status
  bool runs() const;
  pid_t pid() const { return master_->identity.pid; }
  pid_t etcd_pid() const;  // 0: there is none
  std::string log() const;

  host::Output on_host(const std::vector<std::string>& command, std::string_view input = {}) const;
  // The newest of this machine, or $KUBECTL; as the administrator unless a kubeconfig is given.
  host::Output kubectl(const std::vector<std::string>& arguments, std::string_view input = {},
                       const host::Path& kubeconfig = {}) const;
  // With the administrator's certificate: curl_arguments are a path and what curl takes beside.
  host::Output api(const std::string& path, const std::vector<std::string>& curl_arguments = {}) const;
  // Without any credentials but those among the arguments; the answer's status and body.
  std::pair<int, std::string> bare(const std::string& path, const std::vector<std::string>& curl_arguments = {}) const;

  host::Path data_dir() const { return directory_ / "data"; }
  host::Path directory() const { return directory_; }
  host::Path admin() const { return data_dir() / "admin.kubeconfig"; }
  static host::Path binaries();  // build/bin

  static bool eventually(const std::function<bool()>& holds,
                         std::chrono::milliseconds limit = std::chrono::seconds(10));

 private:
  std::vector<std::string> command(const std::vector<std::string>& arguments) const;
  std::vector<std::string> in_network(const std::vector<std::string>& command) const;

  std::string name_;
  host::Path directory_;
  std::optional<host::Child> master_;
};

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace keelson::test
