#pragma once
// What all sources together want: the ledger takes each source's set as it speaks and
// keeps the one DesiredState. Pure: no clock, no files; one thread.
//
// - An object goes only when the source that owned it has spoken without it. A silent
//   or failing source keeps its set and touches nobody else's.
// - A document that cannot be read (wholly) keeps what it held; an object that has
//   become invalid or is refused by policy keeps its last good version; both are problems.
// - One object in two sources: file > etcd > apiserver > url > push. A fixed order, not
//   "whoever runs already", so that a reboot brings back the same pods whatever source
//   speaks first, and what is nearest to the node's administrator wins. Within a source
//   the document whose name sorts first wins. The losers are reported.
// - Two pods with one uid: the one that holds it keeps it; the other is reported and
//   waits.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sources/prepare.h"

namespace keelson::sources {

class Ledger {
 public:
  explicit Ledger(Rules rules) : rules_(std::move(rules)) {}

  const Rules& rules() const { return rules_; }

  // The set that a source stored before the restart; it stands until the source speaks.
  void restore(const std::string& source, const std::vector<Accepted>& objects);

  // The documents of the set that differ from what the ledger has of the source, to be
  // prepared.
  std::vector<DocumentPtr> news(const std::string& source, const DocumentSet& set) const;

  struct Outcome {
    bool changed = false;                // state() differs from before
    bool source_changed = false;         // accepted(source) differs from before
    std::vector<api::Problem> problems;  // the new ones, to be logged
  };
  // The source has spoken; `prepared` holds news() of that set. `now` becomes the
  // config.seen of pods that are new, and the creation time of other new objects.
  Outcome speak(const std::string& source, const DocumentSet& set, std::vector<Prepared> prepared, api::MicroTime now);

  // Sorted by namespace and name within each kind.
  const api::DesiredState& state() const { return state_; }
  std::vector<api::Problem> problems() const;

  struct Counts {
    size_t documents = 0;
    size_t objects = 0;  // accepted ones, those that lost to another source included
    size_t errors = 0, warnings = 0;
  };
  Counts counts(const std::string& source) const;
  // What the source wants as far as it is acceptable, to be kept on disk.
  std::vector<AcceptedPtr> accepted(const std::string& source) const;
  // nullptr when nobody wants it.
  AcceptedPtr winner(const api::ObjectKey& key) const;

 private:
  struct DocumentState {
    DocumentPtr document;                         // none when restored from disk
    std::map<api::ObjectKey, AcceptedPtr> items;  // nullptr: named, but never acceptable
    std::vector<api::Problem> problems;
  };
  struct Source {
    std::map<std::string, DocumentState> documents;
    std::map<api::ObjectKey, std::set<std::string>> holders;  // documents that name the object
  };
  using Touched = std::set<api::ObjectKey>;

  const Source* find(const std::string& source) const;
  static AcceptedPtr good(const Source& source, const api::ObjectKey& key);
  void replace(Source& source, Prepared prepared, api::MicroTime now, Touched& touched, Outcome& outcome);
  static void put(Source& source, const std::string& document, const api::ObjectKey& key, AcceptedPtr item,
                  Touched& touched);
  static void take_out(Source& source, const std::string& document, const api::ObjectKey& key, Touched& touched);
  // Settles who wins each key, and brings state_ up to date.
  void settle(Touched touched, Outcome& outcome);
  AcceptedPtr choose(const api::ObjectKey& key, std::vector<api::Problem>& conflicts) const;
  bool claim_uid(const api::ObjectKey& key, const Accepted& accepted, std::vector<api::Problem>& conflicts);
  void patch(const api::ObjectKey& key, const AcceptedPtr& winner);
  void rebuild();

  Rules rules_;
  std::map<std::string, Source> sources_;
  std::map<api::ObjectKey, AcceptedPtr> winners_;
  std::map<api::ObjectKey, std::vector<api::Problem>> conflicts_;
  std::map<std::string, api::ObjectKey> uids_;  // of the winning pods
  Touched waiting_for_uid_;
  api::DesiredState state_;
};

}  // namespace keelson::sources
