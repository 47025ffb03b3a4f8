// The images room with its real puller process: pulls from Debian's docker-registry and
// from a server that misbehaves on purpose, imports of what tools/mkimage makes, and the
// puller's cage. Root; the whole program runs in a network namespace of its own.
#include "agent/images/store.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "agent/images/landlock.h"
#include "agent/images/manifest.h"
#include "agent/images/puller/sandbox.h"
#include "host/process.h"
#include "test/patience.h"

#ifndef __has_feature
#define __has_feature(name) 0
#endif

namespace keelson::images {
namespace {

using host::Error;
using host::Fd;
using test::patient;
using namespace std::chrono_literals;

// Nothing of these tests leaves the machine, nor meets what runs on it.
struct OwnNetwork {
  OwnNetwork() {
    BOOST_REQUIRE(unshare(CLONE_NEWNET) == 0);
    Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    BOOST_REQUIRE(ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(OwnNetwork);

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}
void write_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

std::string shell(const std::string& script, int timeout_ms = 20'000) {
  host::SpawnOptions options;
  options.argv = {"/bin/bash", "-c", "set -euo pipefail\n" + script};
  options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"};
  auto output = host::run(options, "", patient(timeout_ms));
  BOOST_REQUIRE_MESSAGE(output && output->wait_status == 0,
                        script << ": " << (output ? output->err + output->out : output.error().message));
  return output->out;
}

Fd listen_on_loopback(uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int one = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  BOOST_REQUIRE(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  BOOST_REQUIRE(listen(socket.get(), 64) == 0);
  return socket;
}

// ---- a registry that does as it is told -----------------------------------------------

struct Request {
  std::string method, path, authorization, range;
};
struct Response {
  int status = 200;
  std::string body;
  std::vector<std::string> headers = {};
  size_t cut_after = SIZE_MAX;  // closes the connection after that much of the body
};

class Server {
 public:
  using Handler = std::function<Response(const Request&)>;
  Server(uint16_t port, Handler handler)
      : socket_(listen_on_loopback(port)), handler_(std::move(handler)), thread_([this] { run(); }) {}
  ~Server() {
    ending_ = true;
    shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::vector<Request> requests() {
    std::lock_guard guard(mutex_);
    return requests_;
  }
  size_t count(std::string_view part) {
    auto all = requests();
    return static_cast<size_t>(
        std::ranges::count_if(all, [&](const Request& one) { return one.path.find(part) != std::string::npos; }));
  }

 private:
  void run() {
    std::vector<std::jthread> connections;
    while (!ending_) {
      int fd = accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) break;
      connections.emplace_back([this, fd] { serve(Fd(fd)); });
    }
  }
  void serve(Fd fd) {
    std::string text;
    char chunk[4096];
    while (text.find("\r\n\r\n") == text.npos) {
      ssize_t got = recv(fd.get(), chunk, sizeof chunk, 0);
      if (got <= 0) return;
      text.append(chunk, static_cast<size_t>(got));
      if (text.front() == 0x16) {  // a TLS hello
        constexpr std::string_view kAnswer = "HTTP/1.1 400 Bad Request\r\n\r\n";
        send(fd.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
        return;
      }
    }
    Request request;
    std::istringstream lines(text);
    lines >> request.method >> request.path;
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.starts_with("Authorization: ")) request.authorization = line.substr(15);
      if (line.starts_with("Range: ")) request.range = line.substr(7);
    }
    {
      std::lock_guard guard(mutex_);
      requests_.push_back(request);
    }
    Response response = handler_(request);
    std::string out = fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n", response.status,
                                  response.body.size());
    for (const auto& header : response.headers) out += header + "\r\n";
    out += "\r\n" + response.body.substr(0, response.cut_after);
    for (size_t at = 0; at < out.size();) {
      ssize_t done = send(fd.get(), out.data() + at, out.size() - at, MSG_NOSIGNAL);
      if (done <= 0) return;
      at += static_cast<size_t>(done);
    }
    shutdown(fd.get(), SHUT_WR);
    while (recv(fd.get(), chunk, sizeof chunk, 0) > 0) {
    }
  }

  Fd socket_;
  Handler handler_;
  std::atomic<bool> ending_ = false;
  std::mutex mutex_;
  std::vector<Request> requests_;
  std::thread thread_;
};

// Serves the blobs of an OCI layout as repository "app"; honours ranges.
class LayoutRegistry {
 public:
  explicit LayoutRegistry(const std::filesystem::path& layout) {
    for (const auto& file : std::filesystem::directory_iterator(layout / "blobs/sha256")) {
      blobs[file.path().filename()] = read_file(file.path());
    }
    for (const auto& [hex, content] : blobs) {
      if (content.size() < 4096 && content.find("image.manifest.v1+json") != content.npos) manifest = hex;
      if (content.size() > 4096) largest = hex;
    }
  }
  Response operator()(const Request& request) const {
    std::string last = request.path.substr(request.path.rfind('/') + 1);
    if (last == "1") last = "sha256:" + manifest;
    auto found = last.starts_with("sha256:") ? blobs.find(last.substr(7)) : blobs.end();
    if (found == blobs.end()) return {404, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})"};
    if (request.range.starts_with("bytes=")) {
      size_t from = std::stoul(request.range.substr(6));
      return {206,
              found->second.substr(from),
              {fmt::format("Content-Range: bytes {}-{}/{}", from, found->second.size() - 1, found->second.size())}};
    }
    return {200, found->second};
  }
  std::map<std::string, std::string> blobs;
  std::string manifest, largest;
};

// ---- fixtures -----------------------------------------------------------------------

struct Fixture {
  std::filesystem::path directory;
  std::filesystem::path store_path;
  std::unique_ptr<host::Loop> loop = host::Loop::create(2);
  std::unique_ptr<Store> store;
  StoreSettings settings;
  host::Child registry;

  Fixture() {
    std::string name = "/tmp/keelson-images-it.XXXXXX";
    BOOST_REQUIRE(mkdtemp(name.data()));
    directory = name;
    store_path = directory / "images";
    make_image("one", "docker.io/library/one:1");
  }
  ~Fixture() {
    store.reset();
    stop_registry();
    loop.reset();  // waits for what its workers have in hand
    BOOST_TEST(left_in_staging() == 0);
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }

  // <directory>/<name> as a layout, <name>.tar as an archive; 200 KB that do not compress.
  void make_image(const std::string& name, const std::string& image_name) {
    auto root = directory / (name + ".root");
    shell(
        fmt::format("mkdir -p {0}/bin {0}/etc; head -c 200000 /dev/urandom >{0}/bin/x; chmod 4755 {0}/bin/x; "
                    "echo {1} >{0}/etc/name; "
                    "{2}/tools/mkimage --root {0} --name {3} --entrypoint /bin/x --cmd 'a \"b\"' --env A=b --user 7 "
                    "--compress gzip --layout {4}/{1} --output {4}/{1}.tar",
                    root.string(), name, KEELSON_SOURCE_DIR, image_name, directory.string()));
  }
  std::ptrdiff_t left_in_staging() {
    if (!std::filesystem::exists(store_path / "staging")) return 0;
    return std::distance(std::filesystem::directory_iterator(store_path / "staging"), {});
  }

  void open_store() {
    auto opened = Store::create(*loop, store_path, settings);
    BOOST_REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    store = std::move(*opened);
  }

  // Runs the loop until `n` pulls have ended.
  std::vector<host::Result<api::ImageInfo>> pull_all(const std::vector<std::string>& references,
                                                     const std::vector<api::RegistryCredential>& credentials = {}) {
    if (!store) open_store();
    std::vector<host::Result<api::ImageInfo>> results;
    for (const auto& reference : references) {
      store->pull(reference, credentials, [&](host::Result<api::ImageInfo> image) {
        results.push_back(std::move(image));
        if (results.size() == references.size()) loop->stop();
      });
    }
    auto deadline = loop->after(patient(60s), [this] { loop->stop(); });
    loop->run();
    BOOST_REQUIRE(results.size() == references.size());
    return results;
  }
  host::Result<api::ImageInfo> pull(const std::string& reference,
                                    const std::vector<api::RegistryCredential>& credentials = {}) {
    return pull_all({reference}, credentials).front();
  }
  void pull_fails(const std::string& reference, Error::Code code, const std::vector<std::string>& words,
                  const std::vector<api::RegistryCredential>& credentials = {}) {
    auto image = pull(reference, credentials);
    BOOST_REQUIRE(!image);
    BOOST_TEST((image.error().code == code), image.error().message);
    for (const auto& word : words) {
      BOOST_TEST(image.error().message.find(word) != std::string::npos,
                 image.error().message + " should tell: " + word);
    }
  }

  // Debian's docker-registry on 127.0.0.1:5000 (of our own namespace).
  void start_registry(const std::string& more = {}, const std::string& scheme = "http") {
    auto config = directory / "registry.yml";
    write_file(config,
               fmt::format("version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n"
                           "http:\n  addr: 127.0.0.1:5000\n{}",
                           (directory / "registry").string(), more));
    host::SpawnOptions options;
    options.argv = {"/usr/bin/docker-registry", "serve", config.string()};
    options.environment = {"PATH=/usr/bin:/bin", "OTEL_TRACES_EXPORTER=none"};
    auto child = host::spawn(options);
    BOOST_REQUIRE(child);
    registry = std::move(*child);
    shell(fmt::format(
        "for i in $(seq {}); do curl -sk -o /dev/null {}://127.0.0.1:5000/v2/ && exit 0; sleep 0.1; done; exit 1",
        patient(100), scheme));
  }
  void stop_registry() {
    if (!registry.pidfd) return;
    static_cast<void>(host::send_signal(registry.pidfd, SIGKILL));
    pollfd waiting{registry.pidfd.get(), POLLIN, 0};
    poll(&waiting, 1, patient(5000));
    static_cast<void>(host::reap(registry.pidfd));
    registry = {};
  }
  // What `docker push` does, by hand.
  void push(const std::string& layout, const std::string& repository, const std::string& tag,
            const std::string& curl = "curl") {
    LayoutRegistry image(directory / layout);
    shell(fmt::format(R"(
base={} curl="{} -sSf"
for blob in {}/blobs/sha256/*; do
  hex=$(basename $blob)
  [ $hex = {} ] && continue
  location=$($curl -X POST -D - -o /dev/null $base/v2/{}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  $curl -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$blob "$location&digest=sha256:$hex"
done
$curl -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @{}/blobs/sha256/{} $base/v2/{}/manifests/{}
)",
                      curl.find("-k") != std::string::npos ? "https://127.0.0.1:5000" : "http://127.0.0.1:5000", curl,
                      (directory / layout).string(), image.manifest, repository, (directory / layout).string(),
                      image.manifest, repository, tag));
  }
};

// bcrypt of "secret"
constexpr const char* kHtpasswd = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

BOOST_FIXTURE_TEST_SUITE(images, Fixture)

// ---- import

BOOST_AUTO_TEST_CASE(an_archive_of_mkimage_is_imported_by_a_caged_puller) {
  auto images = ImageDirectory::open(store_path).value();
  for (const char* source : {"one.tar", "one"}) {
    auto imported = import_images(*images, directory / source, "");
    BOOST_REQUIRE_MESSAGE(imported, (imported ? "" : imported.error().message));
    BOOST_REQUIRE(imported->size() == 1);
    const auto& image = imported->front();
    BOOST_TEST(image.tags == std::vector<std::string>{"docker.io/library/one:1"}, boost::test_tools::per_element());
    BOOST_TEST(image.command == std::vector<std::string>{"a \"b\""}, boost::test_tools::per_element());
    BOOST_TEST(image.user == "7");
    struct stat info{};
    BOOST_TEST(stat((image.layers.at(0) + "/bin/x").c_str(), &info) == 0);
    BOOST_TEST((info.st_mode & 07777) == 04755u);
    BOOST_TEST(read_file(image.layers[0] + "/etc/name") == "one\n");
  }
  auto missing = import_images(*images, directory / "nothing.tar", "");
  BOOST_TEST((missing.error().code == Error::Code::not_found));
  write_file(directory / "junk.tar", std::string(3000, 'j'));
  auto junk = import_images(*images, directory / "junk.tar", "");
  BOOST_REQUIRE(!junk);
  BOOST_TEST(junk.error().message.find("junk.tar") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(owners_capabilities_and_opaque_directories_survive_the_cage) {
  auto root = directory / "caps.root";
  shell(fmt::format(
      "mkdir -p {0}/d {0}/home; cp /bin/true {0}/ping; chown 1234:2345 {0}/home; chmod 0700 {0}/home; "
      "echo x >{0}/home/file; chown 1234:2345 {0}/home/file; touch {0}/d/.wh..wh..opq {0}/d/.wh.gone; "
      "setcap cap_net_raw+ep {0}/ping; {1}/tools/mkimage --root {0} --name caps:1 --keep-owner --output {2}/caps.tar",
      root.string(), KEELSON_SOURCE_DIR, directory.string()));
  auto images = ImageDirectory::open(store_path).value();
  auto imported = import_images(*images, directory / "caps.tar", "");
  BOOST_REQUIRE_MESSAGE(imported, (imported ? "" : imported.error().message));
  std::string layer = imported->front().layers.at(0);
  struct stat info{};
  BOOST_TEST(lstat((layer + "/home/file").c_str(), &info) == 0);
  BOOST_TEST(info.st_uid == 1234u);
  BOOST_TEST(info.st_gid == 2345u);
  char value[64];
  BOOST_TEST(getxattr((layer + "/ping").c_str(), "security.capability", value, sizeof value) > 0);
  BOOST_TEST(getxattr((layer + "/d").c_str(), "trusted.overlay.opaque", value, sizeof value) == 1);
  BOOST_TEST(lstat((layer + "/d/gone").c_str(), &info) == 0);
  BOOST_TEST((S_ISCHR(info.st_mode) && info.st_rdev == 0));
}

BOOST_AUTO_TEST_CASE(overlayfs_shows_what_the_layers_say) {
  // Two layers by hand: the upper removes a file and hides a directory of the lower.
  auto lower = directory / "lower.root", upper = directory / "upper.root";
  shell(
      fmt::format("mkdir -p {0}/d {0}/e {1}/d {1}/e; touch {0}/d/old {0}/e/gone {0}/e/stays; "
                  "touch {1}/d/.wh..wh..opq {1}/d/new {1}/e/.wh.gone; "
                  "for l in lower upper; do {2}/tools/mkimage --root {3}/$l.root --name $l:1 --output {3}/$l.tar; done",
                  lower.string(), upper.string(), KEELSON_SOURCE_DIR, directory.string()));
  auto images = ImageDirectory::open(store_path).value();
  std::string below = import_images(*images, directory / "lower.tar", "").value().front().layers.at(0);
  std::string above = import_images(*images, directory / "upper.tar", "").value().front().layers.at(0);
  // In a mount namespace that ends with the shell.
  std::string shown = shell(fmt::format(
      "unshare -m bash -c 'mkdir {0}/merged; mount -t overlay none -o lowerdir={1}:{2} {0}/merged; cd {0}/merged; "
      "find . -type f | sort | tr \"\\n\" \" \"'",
      directory.string(), above, below));
  BOOST_TEST(shown == "./d/new ./e/stays ");
}

BOOST_AUTO_TEST_CASE(an_import_by_another_process_reaches_the_agent_at_once) {
  open_store();
  BOOST_TEST((store->find("one:1").error().code == Error::Code::not_found));
  auto asked = std::chrono::steady_clock::time_point{}, seen = asked;
  store->on_appeared([&] {
    seen = std::chrono::steady_clock::now();
    loop->stop();
  });
  std::thread other([&] {
    auto images = ImageDirectory::open(store_path).value();
    static_cast<void>(import_images(*images, directory / "one.tar", ""));
    asked = std::chrono::steady_clock::now();
  });
  auto deadline = loop->after(patient(30s), [this] { loop->stop(); });
  loop->run();
  other.join();
  BOOST_TEST(store->find("one:1").has_value());
  BOOST_TEST((seen - asked < patient(1s)));
  // And its going is seen too.
  bool gone = false;
  auto images = ImageDirectory::open(store_path).value();
  BOOST_REQUIRE(images->remove("one:1", {}));
  for (int i = 0; i < patient(100) && !gone; ++i) {
    auto tick = loop->after(20ms, [this] { loop->stop(); });
    loop->run();
    gone = !store->find("one:1");
  }
  BOOST_TEST(gone);
}

BOOST_AUTO_TEST_CASE(many_imports_at_once_share_the_work_and_all_succeed) {
  std::vector<std::thread> threads;
  std::atomic<int> succeeded = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      auto images = ImageDirectory::open(store_path).value();
      auto imported = import_images(*images, directory / "one.tar", fmt::format("name{}:1", i));
      if (imported) ++succeeded;
    });
  }
  for (auto& thread : threads) thread.join();
  BOOST_TEST(succeeded == 6);
  auto images = ImageDirectory::open(store_path).value();
  BOOST_TEST(images->list()->size() == 1u);
  BOOST_TEST(images->list()->front().tags.size() == 6u);
}

// ---- Debian's registry

BOOST_AUTO_TEST_CASE(images_are_pulled_by_tag_and_by_digest) {
  start_registry();
  push("one", "team/app", "1");
  auto image = pull("localhost:5000/team/app:1");
  BOOST_REQUIRE_MESSAGE(image, (image ? "" : image.error().message));
  BOOST_TEST(image->tags.at(0) == "localhost:5000/team/app:1");
  BOOST_TEST(read_file(image->layers.at(0) + "/etc/name") == "one\n");
  BOOST_TEST(store->find("localhost:5000/team/app:1").has_value());
  auto by_digest = pull(image->digests.at(0));
  BOOST_REQUIRE_MESSAGE(by_digest, (by_digest ? "" : by_digest.error().message));
  BOOST_TEST(by_digest->id == image->id);
  BOOST_TEST(std::filesystem::is_empty(store_path / "partial"));
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_not_found_by_name) {
  start_registry();
  pull_fails("127.0.0.1:5000/nope:1", Error::Code::not_found,
             {"registry 127.0.0.1:5000", "127.0.0.1:5000/nope:1", "not found"});
}

BOOST_AUTO_TEST_CASE(a_registry_that_is_away_is_connection_refused) {
  pull_fails("127.0.0.1:5000/a:1", Error::Code::unavailable, {"127.0.0.1:5000/a:1", "connection refused"});
}

BOOST_AUTO_TEST_CASE(basic_credentials_open_a_closed_registry) {
  write_file(directory / "htpasswd", kHtpasswd);
  start_registry(fmt::format("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", (directory / "htpasswd").string()));
  push("one", "app", "1", "curl -u user:secret");
  pull_fails("127.0.0.1:5000/app:1", Error::Code::denied, {"unauthorized", "127.0.0.1:5000/app:1"});
  pull_fails("127.0.0.1:5000/app:1", Error::Code::denied, {"unauthorized"}, {{"127.0.0.1:5000", "user", "wrong"}});
  auto image = pull("127.0.0.1:5000/app:1", {{"127.0.0.1:5000", "user", "secret"}});
  BOOST_REQUIRE_MESSAGE(image, (image ? "" : image.error().message));
}

BOOST_AUTO_TEST_CASE(certificates_are_checked_against_the_system_and_the_given_file) {
  shell(
      fmt::format("cd {}; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test "
                  "-addext subjectAltName=DNS:registry.test -keyout key.pem -out cert.pem 2>/dev/null",
                  directory.string()));
  start_registry(fmt::format("  tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}\n", directory.string()), "https");
  push("one", "app", "1", "curl -k");
  // The puller's own view of /etc/hosts would be the machine's; the name is given to both by a private one.
  shell(fmt::format("echo 127.0.0.1 registry.test >{}/hosts", directory.string()));
  BOOST_REQUIRE(unshare(CLONE_NEWNS) == 0);
  BOOST_REQUIRE(mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  BOOST_REQUIRE(mount((directory / "hosts").c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) == 0);
  pull_fails("registry.test:5000/app:1", Error::Code::denied, {"x509:", "registry.test:5000/app:1"});
  store.reset();
  settings.ca_file = (directory / "cert.pem").string();
  auto image = pull("registry.test:5000/app:1");
  BOOST_TEST(image.has_value(), (image ? "" : image.error().message));
  umount("/etc/hosts");
}

BOOST_AUTO_TEST_CASE(concurrent_pulls_of_one_image_are_one_flight) {
  LayoutRegistry content(directory / "one");
  Server server(6000, [&](const Request& request) { return content(request); });
  auto results = pull_all(std::vector<std::string>(20, "127.0.0.1:6000/app:1"));
  for (const auto& result : results) BOOST_TEST(result.has_value());
  BOOST_TEST(server.count("/manifests/") == 1u);
  BOOST_TEST(server.count(content.largest) == 1u);
}

BOOST_AUTO_TEST_CASE(two_images_with_a_common_layer_download_it_once) {
  LayoutRegistry content(directory / "one");
  Server server(6000, [&](const Request& request) { return content(request); });
  auto results = pull_all({"127.0.0.1:6000/app:1", "127.0.0.1:6000/copy:1", "127.0.0.1:6000/third:1"});
  for (const auto& result : results) BOOST_TEST(result.has_value(), (result ? "" : result.error().message));
  BOOST_TEST(server.count("/blobs/sha256:" + content.largest) == 1u);
}

// ---- hostile and broken registries

BOOST_AUTO_TEST_CASE(credentials_do_not_follow_a_redirect) {
  LayoutRegistry content(directory / "one");
  Server elsewhere(6001, [&](const Request& request) { return content(request); });
  Server server(6000, [&](const Request& request) -> Response {
    if (request.authorization.empty()) return {401, "", {"WWW-Authenticate: Basic realm=\"x\""}};
    if (request.path.find("/blobs/") != std::string::npos) {
      return {307, "", {"Location: http://127.0.0.1:6001" + request.path}};
    }
    return content(request);
  });
  auto image = pull("127.0.0.1:6000/app:1", {{"127.0.0.1:6000", "user", "secret"}});
  BOOST_REQUIRE_MESSAGE(image, (image ? "" : image.error().message));
  BOOST_TEST(elsewhere.count("/blobs/") == 2u);
  for (const auto& request : elsewhere.requests()) BOOST_TEST(request.authorization.empty());
}

BOOST_AUTO_TEST_CASE(a_redirect_target_that_asks_for_credentials_gets_none) {
  Server elsewhere(6001, [](const Request&) { return Response{401, "", {"WWW-Authenticate: Basic realm=\"x\""}}; });
  Server server(6000, [](const Request& request) -> Response {
    return {302, "", {"Location: http://127.0.0.1:6001" + request.path}};
  });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::denied, {"unauthorized"},
             {{"127.0.0.1:6000", "user", "secret"}, {"127.0.0.1:6001", "user", "secret"}});
  for (const auto& request : elsewhere.requests()) BOOST_TEST(request.authorization.empty());
}

BOOST_AUTO_TEST_CASE(redirects_have_an_end) {
  Server server(6000, [](const Request& request) { return Response{302, "", {"Location: " + request.path}}; });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::failed, {"too many redirects"});
}

BOOST_AUTO_TEST_CASE(a_token_is_fetched_with_the_credentials_and_used) {
  LayoutRegistry content(directory / "one");
  Server tokens(6001, [](const Request& request) -> Response {
    bool right = request.authorization == "Basic dXNlcjpzZWNyZXQ=";  // user:secret
    if (!right) return {401, R"({"errors":[{"message":"who are you"}]})"};
    return {200, R"({"token":"abc"})"};
  });
  Server server(6000, [&](const Request& request) -> Response {
    if (request.authorization != "Bearer abc") {
      return {
          401,
          "",
          {R"(WWW-Authenticate: Bearer realm="http://127.0.0.1:6001/token",service="s",scope="repository:app:pull")"}};
    }
    return content(request);
  });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::denied, {"unauthorized", "token service 127.0.0.1", "who are you"});
  auto image = pull("127.0.0.1:6000/app:1", {{"127.0.0.1:6000", "user", "secret"}});
  BOOST_REQUIRE_MESSAGE(image, (image ? "" : image.error().message));
  BOOST_TEST(tokens.requests().back().path.find("scope=repository%3Aapp%3Apull") != std::string::npos);
  BOOST_TEST(tokens.count("/token") == 2u);  // one per pull: the layers share it
}

BOOST_AUTO_TEST_CASE(a_dropped_blob_is_resumed_where_it_stopped) {
  LayoutRegistry content(directory / "one");
  std::atomic<int> tries = 0;
  Server server(6000, [&](const Request& request) -> Response {
    auto response = content(request);
    if (request.path.find(content.largest) != std::string::npos && ++tries < 4) response.cut_after = 50'000;
    return response;
  });
  auto image = pull("127.0.0.1:6000/app:1");
  BOOST_REQUIRE_MESSAGE(image, (image ? "" : image.error().message));
  std::vector<std::string> ranges;
  for (const auto& request : server.requests()) {
    if (request.path.find(content.largest) != std::string::npos) ranges.push_back(request.range);
  }
  BOOST_TEST(ranges == (std::vector<std::string>{"", "bytes=50000-", "bytes=100000-", "bytes=150000-"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_download_is_resumed_by_the_next_puller) {
  LayoutRegistry content(directory / "one");
  std::atomic<bool> broken = true;
  Server server(6000, [&](const Request& request) -> Response {
    bool layer = request.path.find(content.largest) != std::string::npos;
    if (layer && broken && !request.range.empty()) return {403, ""};
    auto response = content(request);
    if (layer && broken) response.cut_after = 80'000;
    return response;
  });
  BOOST_TEST(!pull("127.0.0.1:6000/app:1").has_value());
  BOOST_TEST(std::filesystem::file_size(store_path / "partial" / content.largest) == 80'000u);
  broken = false;
  BOOST_TEST(pull("127.0.0.1:6000/app:1").has_value());
  BOOST_TEST(server.requests().back().range == "bytes=80000-");
  BOOST_TEST(std::filesystem::is_empty(store_path / "partial"));
}

BOOST_AUTO_TEST_CASE(a_damaged_partial_download_is_given_up_for_a_fresh_one) {
  LayoutRegistry content(directory / "one");
  Server server(6000, [&](const Request& request) { return content(request); });
  open_store();
  write_file(store_path / "partial" / content.largest, std::string(70'000, '\0'));
  auto image = pull("127.0.0.1:6000/app:1");
  BOOST_TEST(image.has_value(), (image ? "" : image.error().message));
}

BOOST_AUTO_TEST_CASE(servers_without_ranges_are_read_again_from_the_start) {
  LayoutRegistry content(directory / "one");
  std::atomic<int> tries = 0;
  Server server(6000, [&](Request request) -> Response {
    request.range.clear();
    auto response = content(request);
    if (request.path.find(content.largest) != std::string::npos && ++tries < 3) response.cut_after = 60'000;
    return response;
  });
  BOOST_TEST(pull("127.0.0.1:6000/app:1").has_value());
}

BOOST_AUTO_TEST_CASE(trouble_that_passes_is_waited_for) {
  LayoutRegistry content(directory / "one");
  std::atomic<int> tries = 0;
  Server server(6000, [&](const Request& request) -> Response {
    int now = ++tries;
    if (now == 1) return {503, ""};
    if (now == 2) return {429, "", {"Retry-After: 1"}};
    return content(request);
  });
  auto start = std::chrono::steady_clock::now();
  BOOST_TEST(pull("127.0.0.1:6000/app:1").has_value());
  BOOST_TEST((std::chrono::steady_clock::now() - start >= 1200ms));
}

BOOST_AUTO_TEST_CASE(trouble_that_stays_is_reported) {
  Server server(6000, [](const Request&) { return Response{500, ""}; });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::unavailable, {"status 500"});
  BOOST_TEST(server.requests().size() == 5u);
}

BOOST_AUTO_TEST_CASE(content_that_is_not_its_digest_is_refused) {
  LayoutRegistry content(directory / "one");
  auto lying = content;
  lying.blobs[content.largest][100'000] = static_cast<char>(lying.blobs[content.largest][100'000] + 1);
  Server server(6000, [&](const Request& request) { return lying(request); });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::invalid, {"wrong digest"});
  BOOST_TEST(std::filesystem::is_empty(store_path / "layers"));
  BOOST_TEST(std::filesystem::is_empty(store_path / "partial"));
  lying = content;
  lying.blobs[content.manifest] += " ";
  pull_fails("127.0.0.1:6000/app@sha256:" + content.manifest, Error::Code::invalid, {"wrong digest"});
}

BOOST_AUTO_TEST_CASE(an_endless_manifest_is_cut_off) {
  Server server(6000, [](const Request&) { return Response{200, std::string(8 << 20, ' ')}; });
  pull_fails("127.0.0.1:6000/app:1", Error::Code::invalid, {"more than"});
}

BOOST_AUTO_TEST_CASE(plain_http_is_for_loopback_and_listed_registries_only) {
  shell(fmt::format("echo 127.0.0.1 plain.test >{}/hosts", directory.string()));
  LayoutRegistry content(directory / "one");
  Server server(6000, [&](const Request& request) { return content(request); });
  BOOST_REQUIRE(unshare(CLONE_NEWNS) == 0);
  BOOST_REQUIRE(mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  BOOST_REQUIRE(mount((directory / "hosts").c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) == 0);
  pull_fails("plain.test:6000/app:1", Error::Code::denied, {"plain HTTP"});
  store.reset();
  settings.insecure_registries = {"plain.test:6000"};
  auto image = pull("plain.test:6000/app:1");
  BOOST_TEST(image.has_value(), (image ? "" : image.error().message));
  umount("/etc/hosts");
}

BOOST_AUTO_TEST_CASE(the_store_ends_at_once_while_a_pull_hangs) {
  std::atomic<bool> release = false;
  Server server(6000, [&](const Request&) -> Response {
    while (!release) std::this_thread::sleep_for(10ms);
    return {404, ""};
  });
  open_store();
  bool called = false;
  store->pull("127.0.0.1:6000/app:1", {}, [&](host::Result<api::ImageInfo>) { called = true; });
  auto tick = loop->after(500ms, [this] { loop->stop(); });
  loop->run();
  auto start = std::chrono::steady_clock::now();
  store.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - start < patient(2s)));
  BOOST_TEST(!called);
  release = true;
}

BOOST_AUTO_TEST_CASE(the_disk_filling_up_removes_unused_images_but_none_in_use) {
  auto images = ImageDirectory::open(store_path).value();
  make_image("two", "docker.io/library/two:1");
  BOOST_REQUIRE(import_images(*images, directory / "one.tar", ""));
  std::string used = import_images(*images, directory / "two.tar", "").value().front().id;
  settings.gc_high_percent = 0;  // any disk is fuller than that
  settings.gc_low_percent = 0;
  settings.minimum_age = -60s;
  settings.gc_period = 0s;
  settings.in_use = [&] { return InUse{used}; };
  open_store();
  bool gone = false;
  for (int i = 0; i < patient(100) && !gone; ++i) {
    auto tick = loop->after(50ms, [this] { loop->stop(); });
    loop->run();
    gone = !store->find("one:1");
  }
  BOOST_TEST(gone);
  BOOST_TEST(store->find("two:1").has_value());
}

// ---- the cage

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kFiltered = false;
#else
constexpr bool kFiltered = true;
#endif

// In a child of its own: 0, or which wall is missing.
int walls_of_the_cage(const std::filesystem::path& directory, bool landlock) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    int in = open((directory / "in").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int read = open((directory / "read").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Cage cage;
    cage.parent = parent;
    cage.writable = {in};
    cage.readable = {read};
    cage.file_bytes = 1 << 20;
    cage.landlock = landlock;
    if (!enter(cage)) _exit(1);
    auto can_open = [](int at, const std::string& path, int flags) {
      return Fd(openat(at, path.c_str(), flags | O_CLOEXEC, 0600)).get() >= 0;
    };
    if (!can_open(in, "new", O_RDWR | O_CREAT)) _exit(2);
    if (!can_open(read, "file", O_RDONLY)) _exit(3);
    if (can_open(read, "file", O_RDWR)) _exit(4);
    if (can_open(AT_FDCWD, directory / "outside", O_RDWR | O_CREAT)) _exit(5);
    if (can_open(in, "../read/file", O_RDWR)) _exit(6);
    if (landlock && can_open(AT_FDCWD, "/etc/shadow", O_RDONLY)) _exit(7);
    if (mknodat(in, "disk", S_IFBLK, makedev(8, 0)) == 0) _exit(8);
    if (mknodat(in, "whiteout", S_IFCHR, 0) != 0) _exit(9);
    if (unshare(CLONE_NEWNS) == 0) _exit(10);
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(6000);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Without Landlock it is the filter that forbids connections, and a sanitized puller has none.
    if ((landlock || kFiltered) && connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      _exit(11);
    if (landlock && kill(parent, 0) == 0) _exit(12);
    if (!kFiltered) _exit(0);
    const char* const argv[] = {"/bin/false", nullptr};
    if (execve(argv[0], const_cast<char**>(argv), nullptr) == 0 || errno != EPERM) _exit(13);
    if (fork() != -1 || errno != EPERM) _exit(14);
    if (syscall(SYS_io_uring_setup, 1, nullptr) != -1 || errno != EPERM) _exit(15);
    if (::socket(AF_UNIX, SOCK_STREAM, 0) != -1 || errno != EPERM) _exit(16);
    std::thread thread([] {});  // threads are fine
    thread.join();
    _exit(0);
  }
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

BOOST_AUTO_TEST_CASE(the_cage_leaves_the_staging_directory_and_nothing_else) {
  std::filesystem::create_directories(directory / "in");
  std::filesystem::create_directories(directory / "read");
  write_file(directory / "read/file", "x");
  Server server(6000, [](const Request&) { return Response{}; });
  if (kernel_has_landlock()) BOOST_TEST(walls_of_the_cage(directory, true) == 0);
  std::filesystem::remove(directory / "in/whiteout");
  const int without = walls_of_the_cage(directory, false);
  BOOST_TEST(without == 0, "without Landlock: " << without);
  BOOST_TEST(!std::filesystem::exists(directory / "outside"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace keelson::images
