#include "master/controllers/informers.h"

#include <charconv>
#include <chrono>
#include <type_traits>

#include "apiclient/trim.h"
#include "host/log.h"

namespace keelson::controllers {

template <typename Visit>
void Informers::each_informer(Visit visit) {
  // In the order in which they are told: who owns comes before who is owned.
  visit(namespaces);
  visit(nodes);
  visit(leases);
  visit(service_accounts);
  visit(replication_controllers);
  visit(services);
  visit(endpoints);
  visit(slices);
  visit(pods);
  visit(config_maps);
  visit(secrets);
}

template <typename T>
void Informers::start(Informer<T>& informer, apiclient::Client& client) {
  using Reflector = apiclient::Reflector<T>;
  informer.reflector_ = std::make_unique<Reflector>(
      client, apiclient::ReflectorOptions{.trim = apiclient::trim_for_control_plane},
      typename Reflector::Handlers{.synced = [this] { one_synced(); },
                                   .changed =
                                       [this, &informer](const auto& old, const auto& now) {
                                         if (synced()) informer.tell(old, now);
                                       },
                                   .deleted =
                                       [this, &informer](const auto& old) {
                                         if (synced()) informer.tell(old, nullptr);
                                       },
                                   .failed =
                                       [this](const apiclient::Failure& failure) {
                                         complaints_.add(failure);
                                         const bool heartbeats =
                                             std::is_same_v<T, api::Node> || std::is_same_v<T, api::Lease>;
                                         if (heartbeats && deaf) deaf();
                                       }});
}

template <typename T>
void Informers::replay(Informer<T>& informer) {
  informer.each([&](const auto& object) { informer.tell(nullptr, object); });
}

void Informers::begin(apiclient::Client& client, std::function<void()> synced) {
  synced_ = std::move(synced);
  pods.listeners_.insert(pods.listeners_.begin(),
                         [this](const auto& old, const auto& now) { pod_index.set(old, now); });
  waiting_for_ = 0;
  each_informer([&](auto&) { ++waiting_for_; });
  each_informer([&](auto& informer) { start(informer, client); });
}

void Informers::one_synced() {
  if (--waiting_for_ > 0) return;
  synced_();
  each_informer([&](auto& informer) { replay(informer); });
}

int64_t revision_of(const std::string& resource_version) {
  int64_t revision = 0;
  std::from_chars(resource_version.data(), resource_version.data() + resource_version.size(), revision);
  return revision;
}

std::pair<std::string, std::string> split_key(const std::string& key) {
  const size_t slash = key.find('/');
  if (slash == std::string::npos) return {std::string(), key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

int64_t wall_microseconds() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

int64_t wall_seconds() { return wall_microseconds() / 1'000'000; }

}  // namespace keelson::controllers
