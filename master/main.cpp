// keelson-master: makes the rooms, hands them to each other, runs the loop. The only file
// that knows every room.

#include <fcntl.h>
#include <fmt/core.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>

#include "apiclient/kubeconfig.h"
#include "etcd/client.h"
#include "host/log.h"
#include "host/metrics.h"
#include "host/service_manager.h"
#include "http/server.h"
#include "master/apiserver/apiserver.h"
#include "master/apiserver/bootstrap.h"
#include "master/apiserver/credentials.h"
#include "master/apiserver/discovery.h"
#include "master/apiserver/empty_kinds.h"
#include "master/apiserver/health.h"
#include "master/apiserver/metrics_endpoint.h"
#include "master/apiserver/node_authorizer.h"
#include "master/apiserver/openapi_documents.h"
#include "master/apiserver/pod_log.h"
#include "master/apiserver/reviews.h"
#include "master/components.h"
#include "master/etcd_child/etcd_child.h"
#include "master/identity.h"
#include "master/options.h"
#include "master/setup.h"

namespace keelson::master {

namespace {

using host::log_error;
using host::log_info;
using host::log_warning;
using host::Status;

constexpr std::chrono::hours kRenewalPeriod{12};

// One thread allocates; large blocks go back to the kernel at once.
void keep_memory_small() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

// A connection for each watch and one for each client.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// One master per data directory, for as long as the descriptor lives.
host::Result<host::Fd> lock_data_directory(const host::Path& data_dir) {
  if (auto made = host::make_directories(data_dir, 0700); !made) return std::unexpected(made.error());
  auto file = host::open_file(data_dir / "master.lock", O_RDWR | O_CREAT, 0600);
  if (!file) return file;
  if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) {
    return host::fail(host::Error::Code::exists,
                      fmt::format("another keelson-master runs with --data-dir {}", data_dir.string()));
  }
  return file;
}

// The API server and all that it consists of, from the moment that its store can be asked.
struct Serving {
  std::unique_ptr<etcd::Client> etcd;
  std::unique_ptr<apiserver::Store> store;
  std::unique_ptr<apiserver::NodeAuthorizer> authorizer;
  std::unique_ptr<apiserver::ApiServer> api;
  std::vector<std::unique_ptr<apiserver::Extension>> extensions;
  std::unique_ptr<apiserver::Bootstrap> bootstrap;
  std::unique_ptr<http::Server> server;  // goes first: it calls all the others
};

class Master {
 public:
  Master(Options options, Setup setup) : options_(std::move(options)), setup_(std::move(setup)) {}

  Status start();
  void run() { loop_->run(); }
  // A failure after start() had succeeded: what the process ends with.
  int exit_code() const { return exit_code_; }

 private:
  Status start_etcd();
  Status serve();
  void served();
  Status start_components(const Components::Access& access);
  host::Result<apiclient::Config> config_within(const std::string& user);
  Status read_tokens();
  void reload();
  void renew();
  void stop();
  void give_up(const host::Error& error);
  void tell_ready();

  Options options_;
  Setup setup_;
  int exit_code_ = 0;
  host::Fd lock_;
  std::unique_ptr<host::Loop> loop_;
  host::Metrics metrics_;
  std::unique_ptr<Identity> identity_;
  apiserver::Credentials credentials_;
  std::unique_ptr<etcd_child::EtcdChild> etcd_;  // null: an external one
  std::unique_ptr<Serving> serving_;
  std::unique_ptr<Components> components_;
  host::TimePoint began_;
  host::Timer renewal_;
  bool stopping_ = false;
};

Status Master::start() {
  began_ = host::Clock::now();
  auto lock = lock_data_directory(setup_.data_dir);
  if (!lock) return std::unexpected(lock.error());
  lock_ = std::move(*lock);
  loop_ = host::Loop::create(1);
  ::signal(SIGPIPE, SIG_IGN);
  loop_->on_signal(SIGTERM, [this] { stop(); });
  loop_->on_signal(SIGINT, [this] { stop(); });
  loop_->on_signal(SIGHUP, [this] { reload(); });
  if (!options_.runs("apiserver")) {
    const auto elsewhere = [this](const std::string&) { return apiclient::load_kubeconfig(options_.kubeconfig); };
    if (auto started = start_components(elsewhere); !started) return started;
    tell_ready();
    return {};
  }
  const auto now = std::chrono::system_clock::now();
  auto identity = Identity::open(options_, setup_, now);
  if (!identity) return std::unexpected(identity.error());
  identity_ = std::move(*identity);
  if (auto renewed = identity_->renew(now); !renewed) return std::unexpected(renewed.error());
  renewal_ = loop_->after(kRenewalPeriod, [this] { renew(); });
  if (auto read = read_tokens(); !read) return read;
  return start_etcd();
}

Status Master::start_etcd() {
  if (!options_.etcd_servers.empty()) return serve();
  auto child = etcd_child::EtcdChild::start(
      *loop_, {.directory = setup_.etcd_dir(), .program = options_.etcd_program, .quota_bytes = setup_.etcd_quota},
      [this] {
        if (serving_) return;  // it was started again: the store comes back to it
        if (auto served = serve(); !served) give_up(served.error());
      });
  if (!child) return std::unexpected(child.error());
  etcd_ = std::move(*child);
  return {};
}

Status Master::serve() {
  serving_ = std::make_unique<Serving>();
  Serving& s = *serving_;
  etcd::Settings settings{.servers = options_.etcd_servers,
                          .ca_file = options_.etcd_cafile,
                          .cert_file = options_.etcd_certfile,
                          .key_file = options_.etcd_keyfile};
  if (etcd_) settings.servers = {etcd_->endpoint()};
  auto client = etcd::Client::create(*loop_, settings);
  if (!client) return std::unexpected(client.error());
  s.etcd = std::move(*client);
  // Nobody else writes into an etcd that only we can reach.
  s.store = apiserver::Store::create(*loop_, *s.etcd, metrics_, {.sole_writer = etcd_ != nullptr});
  s.authorizer = std::make_unique<apiserver::NodeAuthorizer>(s.store->kind(api::resource_of<api::Pod>()));

  const apiserver::RegistryOptions registry{
      .service_cluster_ips = setup_.service_cidr,
      .node_port_first = setup_.first_node_port,
      .node_port_last = setup_.last_node_port,
      .event_ttl = std::chrono::duration_cast<std::chrono::seconds>(options_.event_ttl)};
  s.api = std::make_unique<apiserver::ApiServer>(
      *loop_, *s.store, metrics_,
      apiserver::Access{.authenticator = credentials_, .authorizer = *s.authorizer, .admission = s.authorizer.get()},
      apiserver::ApiServerOptions{.registry = registry});
  s.bootstrap = std::make_unique<apiserver::Bootstrap>(
      *loop_, *s.store, s.api->registry(),
      apiserver::BootstrapOptions{
          .service_ip = setup_.service_ip, .address = setup_.address, .port = setup_.listen_port});

  const std::string url = setup_.server_url();
  const auto etcd_is_there = [this]() -> Status {
    if (serving_->store->connected()) return {};
    return host::fail(host::Error::Code::unavailable, "etcd is away");
  };
  const auto bootstrapped = [this]() -> Status {
    if (serving_->bootstrap->done()) return {};
    return host::fail(host::Error::Code::unavailable, "the first objects are not there yet");
  };
  std::vector<apiserver::Health::Check> checks;
  checks.push_back({.name = "etcd", .matters_to_livez = false, .check = etcd_is_there});
  checks.push_back({.name = "bootstrap", .matters_to_livez = false, .check = bootstrapped});
  const auto add = [&s](auto extension) {
    s.extensions.push_back(std::move(extension));
    s.api->add(*s.extensions.back());
  };
  add(std::make_unique<apiserver::Health>(std::move(checks)));
  add(std::make_unique<apiserver::VersionEndpoint>(KEELSON_VERSION));
  add(std::make_unique<apiserver::MetricsEndpoint>(metrics_));
  add(std::make_unique<apiserver::Discovery>(url.substr(url.find("//") + 2)));
  add(std::make_unique<apiserver::OpenApiDocuments>());
  add(std::make_unique<apiserver::Reviews>(*s.authorizer));
  add(std::make_unique<apiserver::PodLog>(*loop_, *s.store, apiserver::AgentAccess{.tls = identity_->agent_client()}));
  add(std::make_unique<apiserver::EmptyKinds>(*s.store));

  auto server = http::Server::listen(*loop_,
                                     {.host = setup_.listen_host,
                                      .port = setup_.listen_port,
                                      .tls = identity_->server_files(),
                                      .max_connections = 20'000},
                                     *s.api);
  if (!server) return std::unexpected(std::move(server.error()).within("--listen " + options_.listen));
  s.server = std::move(*server);
  s.store->when_ready([this] { served(); });
  return {};
}

void Master::served() {
  log_info("the API is served at {} after {} ms; kubectl finds it with --kubeconfig {}", setup_.server_url(),
           std::chrono::duration_cast<std::chrono::milliseconds>(host::Clock::now() - began_).count(),
           setup_.admin_kubeconfig().string());
  const auto within = [this](const std::string& user) { return config_within(user); };
  if (auto started = start_components(within); !started) return give_up(started.error());
  tell_ready();
}

// A component within this process speaks to the API as any other would, but with a token
// that nobody else has.
host::Result<apiclient::Config> Master::config_within(const std::string& user) {
  auto token = credentials_.issue_token({.name = user, .groups = {}});
  if (!token) return std::unexpected(token.error());
  return apiclient::Config{
      .server = setup_.loopback_url(), .tls = identity_->loopback_client(), .token = std::move(*token)};
}

Status Master::start_components(const Components::Access& access) {
  auto components = Components::create(*loop_, options_, setup_, access, metrics_);
  if (!components) return std::unexpected(components.error());
  components_ = std::move(*components);
  return {};
}

Status Master::read_tokens() {
  if (options_.token_auth_file.empty()) return {};
  auto text = host::read_file(options_.token_auth_file, 16U << 20);
  if (!text) return std::unexpected(std::move(text.error()).within("--token-auth-file"));
  return credentials_.read_token_file(*text, options_.token_auth_file);
}

void Master::reload() {
  if (auto read = read_tokens(); !read) log_warning("{}, keeping the old tokens", read.error().message);
  if (!serving_ || !serving_->server) return;
  if (auto reloaded = serving_->server->reload_tls(); !reloaded) {
    log_warning("reload TLS files: {}, keeping the old ones", reloaded.error().message);
  }
}

void Master::renew() {
  renewal_ = loop_->after(kRenewalPeriod, [this] { renew(); });
  auto renewed = identity_->renew(std::chrono::system_clock::now());
  if (!renewed) return log_warning("certificates cannot be renewed: {}; tried again in 12 h", renewed.error().message);
  if (*renewed) reload();
}

// Those first who need the API, then the API, then its store.
void Master::stop() {
  if (std::exchange(stopping_, true)) return;
  log_info("stopping");
  const auto rest = [this] {
    components_.reset();
    serving_.reset();
    if (!etcd_) return loop_->stop();
    etcd_->stop([this] { loop_->stop(); });
  };
  if (!components_) return rest();
  components_->release([this, rest] { loop_->post(rest); });
}

void Master::give_up(const host::Error& error) {
  log_error("{}", error.message);
  exit_code_ = 1;
  loop_->post([this] { stop(); });  // not from within what stop() destroys
}

void Master::tell_ready() {
  const char* manager = ::getenv("NOTIFY_SOCKET");
  if (manager == nullptr) return;
  if (auto told = host::notify_service_manager(manager, "READY=1"); !told) {
    log_warning("{}, ignoring", told.error().message);
  }
}

host::Result<std::string> make_kubeconfig(const Options& options, const Setup& setup,
                                          const KubeconfigCommand& command) {
  const auto now = std::chrono::system_clock::now();
  auto identity = Identity::open(options, setup, now);
  if (!identity) return std::unexpected(identity.error());
  return (*identity)->kubeconfig_for(command, now);
}

}  // namespace

}  // namespace keelson::master

int main(int argc, char** argv) {
  using namespace keelson;
  master::keep_memory_small();
  master::raise_descriptor_limit();
  auto command_line = master::parse_command_line(argc, argv);
  if (command_line.exit_code) return *command_line.exit_code;
  const auto refuse = [](const host::Error& error, int code) {
    fmt::print(stderr, "keelson-master: {}\n", error.message);
    return code;
  };
  auto level = host::parse_log_level(command_line.options.log_level);
  if (!level) return refuse(level.error(), 2);
  host::set_log_level(*level);
  auto setup = master::set_up(command_line.options);
  if (!setup) return refuse(setup.error(), setup.error().code == host::Error::Code::invalid ? 2 : 1);
  if (command_line.kubeconfig) {
    auto text = master::make_kubeconfig(command_line.options, *setup, *command_line.kubeconfig);
    if (!text) return refuse(text.error(), text.error().code == host::Error::Code::invalid ? 2 : 1);
    fmt::print("{}", *text);
    return 0;
  }
  master::Master master(std::move(command_line.options), std::move(*setup));
  if (auto started = master.start(); !started) return refuse(started.error(), 1);
  master.run();
  return master.exit_code();
}
