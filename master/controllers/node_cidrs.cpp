// Gives each node its pod CIDRs, and takes them back when the node is gone.
#include <set>

#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/cidr_pool.h"
#include "master/controllers/context.h"
#include "master/controllers/patches.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using NodePtr = std::shared_ptr<const api::Node>;

std::vector<host::Cidr> cidrs_of(const api::Node& node) {
  std::vector<std::string> texts = node.spec.pod_cidrs;
  if (texts.empty() && !node.spec.pod_cidr.empty()) texts.push_back(node.spec.pod_cidr);
  std::vector<host::Cidr> cidrs;
  for (const std::string& text : texts) {
    if (auto cidr = host::Cidr::parse(text)) cidrs.push_back(*cidr);
  }
  return cidrs;
}

class NodeCidrs : public Controller {
 public:
  NodeCidrs(Context context, CidrPool pool)
      : context_(context),
        pool_(std::move(pool)),
        events_(context.client, {.component = "cidrAllocator", .host = {}}),
        agenda_(context.loop, [this](const std::string& name) { look(name); }) {
    context_.informers.nodes.listen([this](const auto& old, const auto& now) { node_changed(old, now); });
  }

 private:
  void node_changed(const NodePtr& old, const NodePtr& now) {
    const std::string& name = (now ? now : old)->metadata.name;
    // A namesake is another node; its CIDR need not be the same.
    if (!now || (old && old->metadata.uid != now->metadata.uid)) {
      pool_.release(name);
      agenda_.drop(name);
      for (const std::string& waiting : waiting_) agenda_.soon(waiting);
    }
    if (!now) {
      waiting_.erase(name);
      return;
    }
    const auto cidrs = cidrs_of(*now);
    if (cidrs.empty()) return agenda_.soon(name);  // after all that have some were seen
    waiting_.erase(name);
    if (auto taken = pool_.occupy(name, cidrs); !taken && !old) {
      host::log_error("node {}: {}", name, taken.error().message);
    }
  }

  void look(const std::string& name) {
    const NodePtr node = context_.informers.nodes.find({}, name);
    if (!node || node->metadata.deletion_timestamp || !cidrs_of(*node).empty() || busy_.contains(name)) return;
    auto cidrs = pool_.allocate(name);
    if (!cidrs) {
      if (!waiting_.insert(name).second) return;
      host::log_error("node {}: {}", name, cidrs.error().message);
      events_.record(apiclient::reference_to(*node), "Normal", "CIDRNotAvailable",
                     "Node " + name + " status is now: CIDRNotAvailable");
      return;
    }
    std::vector<std::string> texts;
    for (const host::Cidr& cidr : *cidrs) texts.push_back(cidr.to_string());
    busy_.insert(name);
    context_.client
        .patch<api::Node>({}, name, apiclient::PatchType::merge, node_cidrs_patch(texts), {},
                          [this, name](Outcome<api::Node> outcome) {
                            busy_.erase(name);
                            if (outcome || outcome.error().not_found()) return agenda_.succeeded(name);
                            // Whether it was written is not always known: the node keeps it here, and gets
                            // the same again; what the server has stands, and occupy() sees it.
                            host::log_warning("node {}: {}", name, outcome.error().message);
                            agenda_.after_failure(name);
                          })
        .detach();
  }

  Context context_;
  CidrPool pool_;
  apiclient::EventRecorder events_;
  Agenda agenda_;
  std::set<std::string> busy_, waiting_;
};

class NoCidrs : public Controller {};

}  // namespace

std::unique_ptr<Controller> make_node_cidrs(Context context) {
  if (context.options.cluster_cidrs.empty()) return std::make_unique<NoCidrs>();
  auto pool =
      CidrPool::create(context.options.cluster_cidrs, context.options.node_mask_v4, context.options.node_mask_v6);
  if (!pool) return std::make_unique<NoCidrs>();  // Controllers::create() has refused it
  return std::make_unique<NodeCidrs>(context, std::move(*pool));
}

}  // namespace keelson::controllers
