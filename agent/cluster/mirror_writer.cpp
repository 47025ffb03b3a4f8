#include "agent/cluster/mirror_writer.h"

#include "host/log.h"

namespace keelson::cluster {
namespace {

constexpr auto kAfterDeletion = std::chrono::seconds(1);

}  // namespace

void MirrorWriter::want(std::vector<api::Pod> pods, bool complete, Owner node) {
  pods_ = std::move(pods);
  complete_ = complete;
  node_ = std::move(node);
}

void MirrorWriter::look(const std::vector<PodPtr>& present) {
  if (node_.uid.empty()) return;
  auto plan = plan_mirrors(pods_, present, complete_, node_);
  for (const auto& mirror : plan.remove)
    writer_.remove({mirror->metadata.namespace_, mirror->metadata.name, mirror->metadata.uid});
  missing_.clear();
  for (auto& mirror : plan.create) {
    Name name{mirror.metadata.namespace_, mirror.metadata.name};
    missing_.emplace(std::move(name), std::move(mirror));
  }
  std::erase_if(creations_, [this](const auto& entry) { return !missing_.contains(entry.first); });
  for (const auto& [name, mirror] : missing_) {
    const auto known = creations_.find(name);
    if (known != creations_.end() && (known->second.busy || known->second.timer.armed())) continue;
    if (present_.contains(name)) {
      create_later(name, kAfterDeletion);
    } else {
      create(mirror);
    }
  }
  present_.clear();
  for (const auto& mirror : present) present_.emplace(mirror->metadata.namespace_, mirror->metadata.name);
}

void MirrorWriter::create_later(const Name& name, host::Duration delay) {
  creations_[name].timer = client_.loop().after(delay, [this, name] {
    if (const auto wanted = missing_.find(name); wanted != missing_.end()) create(wanted->second);
  });
}

void MirrorWriter::create(const api::Pod& mirror) {
  const Name name{mirror.metadata.namespace_, mirror.metadata.name};
  auto& creation = creations_[name];
  creation.busy = true;
  creation.call = client_.create<api::Pod>(mirror, {}, [this, name](apiclient::Outcome<api::Pod> outcome) {
    auto& creation = creations_.at(name);
    creation.busy = false;
    // The watch tells that it is there; should it not, it is asked for again.
    if (!outcome && !outcome.error().already_exists() && creation.failure != outcome.error().message) {
      creation.failure = outcome.error().message;
      host::log_warning("mirror pod {}/{}: {}, trying again", name.first, name.second, creation.failure);
    }
    create_later(name, creation.retry.failed());
  });
}

}  // namespace keelson::cluster
