#include "agent/node/lease.h"

#include <fmt/core.h>

#include "api/lease.h"
#include "api/tree.h"
#include "host/log.h"

namespace keelson::node {
namespace {

constexpr const char* kNamespace = "kube-node-lease";

api::MicroTime this_instant() {
  return {std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

}  // namespace

void Heartbeat::beat() {
  // This node alone writes it: no version is compared.
  auto patch = fmt::format(R"({{"spec":{{"holderIdentity":{},"leaseDurationSeconds":{},"renewTime":"{}"}}}})",
                           api::json_string(name_), duration_.count(), api::to_string(this_instant()));
  call_ = client_.patch<api::Lease>(kNamespace, name_, apiclient::PatchType::merge, std::move(patch), {},
                                    [this](apiclient::Outcome<api::Lease> renewed) {
                                      if (!renewed && renewed.error().not_found()) return create();
                                      next(renewed ? nullptr : &renewed.error());
                                    });
}

void Heartbeat::create() {
  // Its owner is the Node, without which it would stay for ever.
  if (owner_uid_.empty()) {
    timer_ = client_.loop().after(std::chrono::milliseconds(100), [this] { beat(); });
    return;
  }
  api::Lease lease;
  lease.metadata.namespace_ = kNamespace;
  lease.metadata.name = name_;
  lease.metadata.owner_references.push_back({.api_version = "v1",
                                             .kind = "Node",
                                             .name = name_,
                                             .uid = owner_uid_,
                                             .controller = {},
                                             .block_owner_deletion = {}});
  lease.spec.holder_identity = name_;
  lease.spec.lease_duration_seconds = static_cast<int32_t>(duration_.count());
  lease.spec.renew_time = this_instant();
  call_ = client_.create<api::Lease>(
      lease, {}, [this](apiclient::Outcome<api::Lease> made) { next(made ? nullptr : &made.error()); });
}

void Heartbeat::next(const apiclient::Failure* failure) {
  if (failure != nullptr && !failing_) host::log_warning("node lease: {}, trying again", failure->message);
  failing_ = failure != nullptr;
  const auto wait = failing_ ? std::min<host::Duration>(renew_, std::chrono::seconds(2)) : renew_;
  timer_ = client_.loop().after(wait, [this] { beat(); });
}

}  // namespace keelson::node
