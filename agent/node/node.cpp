#include "agent/node/node.h"

#include <fmt/core.h>

#include <algorithm>

#include "agent/node/lease.h"
#include "apiclient/reflector.h"
#include "host/log.h"

namespace keelson::node {
namespace {

using namespace std::chrono_literals;
using Nodes = apiclient::Reflector<api::Node>;

constexpr auto kFirstRetry = 200ms;
constexpr auto kMostRetry = 7s;  // kubelet's

api::Time this_second() {
  return {
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

// What other nodes must know of one.
bool reached_alike(const api::Node& a, const api::Node& b) {
  return a.spec.pod_cidr == b.spec.pod_cidr && a.spec.pod_cidrs == b.spec.pod_cidrs &&
         a.status.addresses == b.status.addresses;
}

}  // namespace

struct Node::Impl : std::enable_shared_from_this<Node::Impl> {
  Impl(apiclient::Client& with, Settings given, Facts facts, NodeListener& listener)
      : client(with),
        settings(std::move(given)),
        listener(listener),
        wanted(make_node(settings.identity, facts)),
        lease(with, settings.identity.name, settings.lease_renew, settings.lease_duration) {}

  const std::string& name() const { return settings.identity.name; }

  void start() {
    nodes = std::make_unique<Nodes>(
        client, apiclient::ReflectorOptions{},
        Nodes::Handlers{.synced = [this] { heard_all(); },
                        .changed = [this](const auto& old, const auto& now) { heard(old, now); },
                        .deleted = [this](const auto& old) { lost(*old); },
                        .failed = {}});
    look();
    lease.start();
  }

  // --- registration: the Node is there, with what is ours on it

  void ensure() {
    if (busy || ensured) return;
    busy = true;
    call = client.get<api::Node>("", name(), [this](apiclient::Outcome<api::Node> found) {
      if (found) return adopt(*found);
      if (!found.error().not_found() || !settings.register_node) return again(found.error());
      auto node = wanted;
      node.status = status;
      call = client.create<api::Node>(node, {}, [this](apiclient::Outcome<api::Node> made) {
        if (!made) return again(made.error());
        host::log_info("node {}: registered", name());
        done(*made);
      });
    });
  }

  void adopt(const api::Node& found) {
    const auto patch = adoption_patch(wanted, found);
    if (patch.empty()) return done(found);
    call = client.patch<api::Node>("", name(), apiclient::PatchType::strategic, patch, {},
                                   [this](apiclient::Outcome<api::Node> adopted) {
                                     if (!adopted) return again(adopted.error());
                                     host::log_info("node {}: was there, brought up to date", name());
                                     done(*adopted);
                                   });
  }

  void again(const apiclient::Failure& failure) {
    busy = false;
    if (failure.message != last_failure) {
      host::log_warning("node {}: {}, trying again", name(), failure.message);
      last_failure = failure.message;
    }
    retry_timer = client.loop().after(retry, [this] { ensure(); });
    retry = std::min<host::Duration>(retry * 2, kMostRetry);
  }

  void done(const api::Node& node) {
    busy = false;
    ensured = true;
    retry = kFirstRetry;
    last_failure.clear();
    lease.set_owner(node.metadata.uid);
    tell_own(node);
    sent.reset();
    send_status();
  }

  // --- status

  void look() {
    if (std::exchange(looking, true)) {
      look_again = true;
      return;
    }
    client.loop().offload([data = settings.data] { return look_at_pressure(data); },
                          [weak = weak_from_this()](Pressure pressure) {
                            if (auto self = weak.lock()) self->looked(pressure);
                          });
  }

  void looked(const Pressure& pressure) {
    looking = false;
    auto report = listener.report();
    const auto before = std::move(status.conditions);
    status = wanted.status;
    status.images = told_images(report.images);
    status.conditions = make_conditions(
        {.pressure = pressure, .not_ready = std::move(report.not_ready), .no_network = std::move(report.no_network)},
        before, this_second());
    timer = client.loop().after(settings.status_update, [this] { look(); });
    if (ensured) {
      send_status();
    } else {
      ensure();
    }
    if (std::exchange(look_again, false)) look();
  }

  void send_status() {
    if (!ensured || sending) return;
    const bool due = !sent || host::Clock::now() >= report_by;
    if (!due && !differs(*sent, status)) return;
    sending = true;
    status_call = client.patch<api::Node>("", name(), apiclient::PatchType::strategic, status_patch(status),
                                          {.subresource = "status"}, [this, told = status](auto outcome) {
                                            sending = false;
                                            told_status(told, outcome);
                                          });
  }

  void told_status(const api::NodeStatus& told, const apiclient::Outcome<api::Node>& outcome) {
    if (!outcome) {
      // The next look tries again; a Node that somebody has deleted is registered anew.
      if (outcome.error().not_found()) ensured = false;
      if (outcome.error().message != last_failure)
        host::log_warning("node {}: status: {}, trying again", name(), outcome.error().message);
      last_failure = outcome.error().message;
      return;
    }
    last_failure.clear();
    sent = told;
    report_by = host::Clock::now() + settings.status_report;
    if (differs(told, status)) send_status();
  }

  // --- what the API has

  void heard_all() {
    if (const auto own = nodes->find("", name())) tell_own(*own);
    tell_others();
  }

  void heard(const Nodes::Ptr& old, const Nodes::Ptr& now) {
    if (now->metadata.name == name()) return tell_own(*now);
    if (!old || !reached_alike(*old, *now)) tell_others();
  }

  void lost(const api::Node& node) {
    if (node.metadata.name != name()) return tell_others();
    host::log_warning("node {}: somebody has deleted the Node object", name());
    ensured = false;
    look();
  }

  // The master has called us lost (Unknown), or somebody has written over our status.
  void correct(const api::NodeStatus& known) {
    if (!sent || sending || tells(known, *sent)) return;
    sent.reset();
    send_status();
  }

  void tell_own(const api::Node& node) {
    correct(node.status);
    const bool same = own && own->metadata.uid == node.metadata.uid && own->metadata.labels == node.metadata.labels &&
                      own->spec == node.spec;
    if (same) return;
    own = node;
    listener.own_node(node);
  }

  void tell_others() {
    std::vector<Nodes::Ptr> others;
    nodes->each([&](const Nodes::Ptr& node) {
      if (node->metadata.name != name()) others.push_back(node);
    });
    listener.other_nodes(others);
  }

  apiclient::Client& client;
  const Settings settings;
  NodeListener& listener;
  const api::Node wanted;
  Heartbeat lease;
  std::unique_ptr<Nodes> nodes;
  std::optional<api::Node> own;
  api::NodeStatus status;               // as of the last look
  std::optional<api::NodeStatus> sent;  // as the API has acknowledged it
  host::TimePoint report_by;
  bool ensured = false, busy = false, looking = false, look_again = false, sending = false;
  host::Duration retry = kFirstRetry;
  std::string last_failure;
  apiclient::Call call, status_call;
  host::Timer timer, retry_timer;
};

Node::Node(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() = default;

std::unique_ptr<Node> Node::create(apiclient::Client& client, Settings settings, Facts facts, NodeListener& listener) {
  auto impl = std::make_shared<Impl>(client, std::move(settings), std::move(facts), listener);
  impl->start();
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

void Node::touch() { impl_->look(); }

}  // namespace keelson::node
