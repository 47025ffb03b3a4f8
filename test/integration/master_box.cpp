#include "test/integration/master_box.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <thread>

#include "host/fd.h"
#include "host/loop.h"
#include "test/patience.h"

namespace keelson::test {

using host::Output;
using host::Path;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> kEnvironment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent",
                                               "ASAN_OPTIONS=detect_stack_use_after_return=0:exitcode=99",
                                               "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"};

Output run(const std::vector<std::string>& command, std::string_view input = {}) {
  auto output = host::run({.argv = command, .environment = kEnvironment}, input, patient(45'000));
  BOOST_REQUIRE_MESSAGE(output, command.front() << ": " << output.error().message);
  return *output;
}

// Debian's, or the newest that Google's SDK brings.
Path find_kubectl() {
  if (const char* named = ::getenv("KUBECTL"); named != nullptr) return named;
  const Path sdk = "/usr/lib/google-cloud-sdk/bin";
  Path newest = "/usr/bin/kubectl";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(sdk, ignored)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("kubectl.1.") && (newest.parent_path() != sdk || entry.path() > newest)) newest = entry.path();
  }
  return newest;
}

}  // namespace

Path MasterBox::binaries() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

MasterBox::MasterBox() {
  static int count = 0;
  ::signal(SIGPIPE, SIG_IGN);
  name_ = fmt::format("klm{}-{}", ::getpid(), ++count);
  directory_ = "/tmp/keelson-test-" + name_;
  BOOST_REQUIRE(host::make_directories(directory_, 0700));
  const auto made = run({"/bin/bash", "-ec", R"(
    ip netns add $0
    ip -n $0 link set lo up
    ip -n $0 link add eth0 type veth peer name outside0
    ip -n $0 address add 192.0.2.10/24 dev eth0
    ip -n $0 link set eth0 up; ip -n $0 link set outside0 up
    ip -n $0 route add default via 192.0.2.1)",
                         name_});
  BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
}

MasterBox::~MasterBox() {
  try {
    if (runs()) BOOST_CHECK_EQUAL(stop(SIGTERM), 0);
    run({"/sbin/ip", "netns", "delete", name_});
    if (auto removed = host::remove_tree(directory_); !removed) BOOST_ERROR(removed.error().message);
  } catch (const std::exception& error) {
    BOOST_ERROR(error.what());
  } catch (...) {  // a BOOST_REQUIRE, which has been reported
  }
}

std::vector<std::string> MasterBox::in_network(const std::vector<std::string>& command) const {
  std::vector<std::string> argv = {"/usr/bin/nsenter", "--net=/run/netns/" + name_, "--"};
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

std::vector<std::string> MasterBox::command(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {(binaries() / "keelson-master").string(),
                                      "--data-dir",
                                      data_dir().string(),
                                      "--config",
                                      "",
                                      "--components",
                                      "apiserver"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return in_network(command);
}

void MasterBox::launch(const std::vector<std::string>& flags) {
  BOOST_REQUIRE(!runs());
  auto log = host::open_file(directory_ / "master.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  BOOST_REQUIRE(log);
  auto child =
      host::spawn({.argv = command(flags), .environment = kEnvironment, .fds = {{log->get(), 1}, {log->get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  master_ = std::move(*child);
}

void MasterBox::start(const std::vector<std::string>& flags) {
  launch(flags);
  BOOST_REQUIRE_MESSAGE(eventually([this] {
                          BOOST_REQUIRE_MESSAGE(runs(), "the master ended:\n" << log());
                          return ready();
                        }),
                        "the master is not ready:\n"
                            << log());
}

bool MasterBox::ready() { return bare("/readyz").second == "ok"; }

Output MasterBox::run_to_its_end(const std::vector<std::string>& arguments) { return run(command(arguments)); }

int MasterBox::stop(int signal) {
  BOOST_REQUIRE(master_);
  (void)host::send_signal(master_->pidfd, signal);
  pollfd polled{master_->pidfd.get(), POLLIN, 0};
  if (::poll(&polled, 1, patient(15'000)) == 0) {
    (void)host::send_signal(master_->pidfd, SIGKILL);
    ::poll(&polled, 1, patient(5'000));
    BOOST_ERROR(fmt::format("the master did not end after signal {}:\n{}", signal, log()));
  }
  auto status = host::reap(master_->pidfd);
  master_.reset();
  BOOST_REQUIRE(status);
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 99) BOOST_ERROR("a sanitizer found something:\n" << log());
  return *status;
}

bool MasterBox::runs() const {
  if (!master_) return false;
  pollfd polled{master_->pidfd.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 0;
}

pid_t MasterBox::etcd_pid() const {
  const auto found = run({"/usr/bin/pgrep", "--parent", std::to_string(pid()), "--exact", "etcd"});
  return found.out.empty() ? 0 : static_cast<pid_t>(std::stol(found.out));
}

std::string MasterBox::log() const { return host::read_file(directory_ / "master.log").value_or(""); }

Output MasterBox::on_host(const std::vector<std::string>& command, std::string_view input) const {
  return run(in_network(command), input);
}

Output MasterBox::kubectl(const std::vector<std::string>& arguments, std::string_view input,
                          const Path& kubeconfig) const {
  static const Path program = find_kubectl();
  std::vector<std::string> command = {program.string(), "--kubeconfig",
                                      (kubeconfig.empty() ? admin() : kubeconfig).string(), "--cache-dir",
                                      (directory_ / "cache").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return on_host(command, input);
}

Output MasterBox::api(const std::string& path, const std::vector<std::string>& curl_arguments) const {
  std::vector<std::string> command = {"/usr/bin/curl",
                                      "--silent",
                                      "--show-error",
                                      "--max-time",
                                      "20",
                                      "--cacert",
                                      (data_dir() / "pki/ca.crt").string(),
                                      "--cert",
                                      (data_dir() / "pki/admin.crt").string(),
                                      "--key",
                                      (data_dir() / "pki/admin.key").string()};
  command.insert(command.end(), curl_arguments.begin(), curl_arguments.end());
  command.push_back(kUrl + path);
  return on_host(command);
}

std::pair<int, std::string> MasterBox::bare(const std::string& path,
                                            const std::vector<std::string>& curl_arguments) const {
  std::vector<std::string> command = {"/usr/bin/curl", "--silent",      "--insecure", "--max-time", "20",
                                      "--write-out",   "\n%{http_code}"};
  command.insert(command.end(), curl_arguments.begin(), curl_arguments.end());
  command.push_back(kUrl + path);
  const std::string out = on_host(command).out;
  const size_t at = out.rfind('\n');
  if (at == std::string::npos) return {0, out};
  return {std::atoi(out.c_str() + at + 1), out.substr(0, at)};
}

bool MasterBox::eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
  return test::eventually(holds, limit);
}

}  // namespace keelson::test
