#pragma once
// Pods by what controllers look for: their owner, their node, their namespace while nobody
// owns them, a label. Kept up to date by the one who listens to the Pods. Pure.

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "master/controllers/replicas.h"

namespace keelson::controllers {

class PodIndex {
 public:
  // `old`: as it was set before, or null; `now`: null when it is gone.
  void set(const PodPtr& old, const PodPtr& now);

  std::vector<PodPtr> of_owner(const std::string& uid) const { return values(owned_, uid); }
  std::vector<PodPtr> orphans(const std::string& namespace_) const { return values(orphans_, namespace_); }
  std::vector<PodPtr> on_node(const std::string& node) const { return values(on_node_, node); }
  std::vector<PodPtr> in_namespace(const std::string& namespace_) const { return values(in_namespace_, namespace_); }
  // An empty selector selects nothing.
  std::vector<PodPtr> selected(const std::string& namespace_, const std::map<std::string, std::string>& selector) const;

 private:
  using Names = std::map<std::string, PodPtr>;
  using Index = std::unordered_map<std::string, Names>;
  static std::vector<PodPtr> values(const Index& index, const std::string& key);
  void put(Index& index, const std::string& key, const PodPtr& pod, bool in);
  void change(const PodPtr& pod, bool in);

  Index owned_, orphans_, on_node_, in_namespace_, labelled_;
};

}  // namespace keelson::controllers
