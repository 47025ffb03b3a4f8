#include "agent/sources/merge.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <random>

namespace keelson::sources {
BOOST_AUTO_TEST_SUITE(merge_tests)
namespace {

constexpr api::MicroTime kNow{1'767'323'045'000'000};  // 2026-01-02T03:04:05Z
constexpr api::MicroTime kLater{kNow.microseconds + 3'600'000'000};

std::string pod(std::string_view name, std::string_view image = "busybox", std::string_view more = "") {
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\nspec:\n{}  containers:\n  - name: main\n    image: {}\n", name,
      more, image);
}

std::string config_map(std::string_view name, std::string_view value) {
  return fmt::format("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\ndata:\n  key: {}\n", name, value);
}

// Two documents in one text.
std::string both(const std::string& a, const std::string& b) { return a + "---\n" + b; }

struct Fixture {
  explicit Fixture(Rules rules = {.node_name = "node1"}) : ledger(std::move(rules)) {}

  using Texts = std::map<std::string, std::string>;

  Ledger::Outcome speak(const std::string& source, const Texts& texts, api::MicroTime now = kNow) {
    DocumentSet set;
    for (const auto& [name, text] : texts) {
      Document document{.name = name};
      (text.starts_with("!") ? document.failure : document.text) = text;
      set[name] = std::make_shared<const Document>(std::move(document));
    }
    std::vector<Prepared> news;
    for (const auto& document : ledger.news(source, set)) news.push_back(prepare(ledger.rules(), source, document));
    prepared = news.size();
    return ledger.speak(source, set, std::move(news), now);
  }

  std::string pods() const {
    std::string names;
    for (const auto& one : ledger.state().pods) {
      names += fmt::format("{}{}={}:{}", names.empty() ? "" : " ", one.object.metadata.name, one.origin.source,
                           one.object.spec.containers.at(0).image);
    }
    return names;
  }
  const api::Pod& first_pod() const { return ledger.state().pods.at(0).object; }
  std::string annotation(std::string_view name) const { return first_pod().metadata.annotations.at(std::string(name)); }
  bool has_problem(std::string_view part) const {
    return std::ranges::any_of(ledger.problems(),
                               [&](const auto& problem) { return describe(problem).find(part) != std::string::npos; });
  }

  Ledger ledger;
  size_t prepared = 0;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(an_object_goes_only_when_its_source_speaks_without_it, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  speak("url", {{"http://x/", pod("b")}});
  BOOST_TEST(pods() == "a=file:busybox b=url:busybox");
  speak("url", {{"http://x/", pod("c")}});
  BOOST_TEST(pods() == "a=file:busybox c=url:busybox");
  BOOST_TEST(speak("file", {}).changed);
  BOOST_TEST(pods() == "c=url:busybox");
}

BOOST_FIXTURE_TEST_CASE(saying_the_same_again_changes_nothing_and_prepares_nothing, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  const auto outcome = speak("file", {{"a.yaml", pod("a")}}, kLater);
  BOOST_TEST(!outcome.changed);
  BOOST_TEST(!outcome.source_changed);
  BOOST_TEST(prepared == 0U);
  BOOST_TEST(annotation(kConfigSeen) == "2026-01-02T03:04:05.000000Z");
}

BOOST_FIXTURE_TEST_CASE(a_comment_added_to_a_manifest_changes_no_pod, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  const auto uid = first_pod().metadata.uid;
  const auto outcome = speak("file", {{"a.yaml", pod("a") + "# a remark\n"}}, kLater);
  BOOST_TEST(prepared == 1U);
  BOOST_TEST(!outcome.changed);
  BOOST_TEST(first_pod().metadata.uid == uid);
}

BOOST_FIXTURE_TEST_CASE(a_document_that_cannot_be_parsed_keeps_what_it_held, Fixture) {
  speak("file", {{"a.yaml", pod("a")}, {"b.yaml", pod("b")}});
  const auto outcome = speak("file", {{"a.yaml", "kind: Pod\n  broken: [\n"}, {"b.yaml", pod("b", "other")}});
  BOOST_TEST(pods() == "a=file:busybox b=file:other");
  BOOST_REQUIRE_EQUAL(outcome.problems.size(), 1U);
  BOOST_TEST(outcome.problems[0].origin.document == "a.yaml");
  BOOST_TEST(outcome.problems[0].origin.line > 0);
  speak("file", {{"a.yaml", pod("a", "mended")}, {"b.yaml", pod("b", "other")}});
  BOOST_TEST(pods() == "a=file:mended b=file:other");
  BOOST_TEST(ledger.problems().empty());
}

BOOST_FIXTURE_TEST_CASE(a_half_written_document_removes_nothing, Fixture) {
  speak("file", {{"a.yaml", both(pod("a"), pod("b"))}});
  speak("file", {{"a.yaml", both(pod("a", "new"), "kind: Pod\nmetadata: {name: b\n")}});
  BOOST_TEST(pods() == "a=file:new b=file:busybox");
  speak("file", {{"a.yaml", pod("a", "new")}});
  BOOST_TEST(pods() == "a=file:new");
}

BOOST_FIXTURE_TEST_CASE(a_document_that_cannot_be_read_keeps_what_it_held, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  speak("file", {{"a.yaml", "!permission denied"}});
  BOOST_TEST(pods() == "a=file:busybox");
  BOOST_TEST(has_problem("permission denied"));
}

BOOST_FIXTURE_TEST_CASE(an_invalid_update_keeps_the_last_good_version_and_names_the_field, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  speak("file", {{"a.yaml", pod("a", "busybox", "  restartPolicy: Sometimes\n")}});
  BOOST_TEST(pods() == "a=file:busybox");
  BOOST_TEST(first_pod().spec.restart_policy == "Always");
  BOOST_TEST(has_problem("spec.restartPolicy"));
  speak("file", {});
  BOOST_TEST(pods().empty());
}

BOOST_FIXTURE_TEST_CASE(an_invalid_update_in_another_document_still_finds_the_last_good_version, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  speak("file", {{"moved.yaml", pod("a", "busybox", "  restartPolicy: Sometimes\n")}});
  BOOST_TEST(pods() == "a=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(a_source_is_held_to_its_policy_and_the_refusal_names_the_field, Fixture) {
  const auto privileged = pod("a", "busybox", "  hostNetwork: true\n");
  speak("url", {{"http://x/", privileged}});
  BOOST_TEST(pods().empty());
  BOOST_TEST(has_problem("spec.hostNetwork"));
  BOOST_TEST(has_problem("--source-policy"));
  speak("file", {{"a.yaml", privileged}});
  BOOST_TEST(pods() == "a=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(a_refused_update_keeps_the_allowed_version, Fixture) {
  speak("push", {{"Pod default/a", pod("a")}});
  speak("push", {{"Pod default/a", pod("a", "evil", "  hostPID: true\n")}});
  BOOST_TEST(pods() == "a=push:busybox");
}

BOOST_FIXTURE_TEST_CASE(of_two_sources_the_defined_one_wins_whoever_speaks_first, Fixture) {
  speak("push", {{"p", pod("a", "push")}});
  BOOST_TEST(pods() == "a=push:push");
  speak("url", {{"u", pod("a", "url")}});
  BOOST_TEST(pods() == "a=url:url");
  speak("apiserver", {{"s", pod("a", "apiserver")}});
  speak("file", {{"f.yaml", pod("a", "file")}});
  speak("etcd", {{"e", pod("a", "etcd")}});
  BOOST_TEST(pods() == "a=file:file");
  BOOST_TEST(has_problem("push p:1: Pod default/a: metadata.name: Duplicate value: file f.yaml:1"));
  BOOST_TEST(ledger.problems().size() == 4U);
  speak("file", {});
  BOOST_TEST(pods() == "a=etcd:etcd");
  speak("etcd", {});
  BOOST_TEST(pods() == "a=apiserver:apiserver");
  speak("apiserver", {});
  speak("url", {});
  BOOST_TEST(pods() == "a=push:push");
  BOOST_TEST(ledger.problems().empty());
}

BOOST_FIXTURE_TEST_CASE(within_a_source_the_first_document_by_name_wins_and_the_other_is_reported, Fixture) {
  speak("file", {{"b.yaml", pod("x", "b")}, {"a.yaml", pod("x", "a")}});
  BOOST_TEST(pods() == "x=file:a");
  BOOST_TEST(has_problem("b.yaml:1: Pod default/x: metadata.name: Duplicate value: file a.yaml:1"));
  speak("file", {{"b.yaml", pod("x", "b")}});
  BOOST_TEST(pods() == "x=file:b");
  BOOST_TEST(ledger.problems().empty());
}

BOOST_FIXTURE_TEST_CASE(within_a_document_the_first_object_of_a_name_stands, Fixture) {
  speak("file", {{"a.yaml", both(pod("x", "one"), pod("x", "two"))}});
  BOOST_TEST(pods() == "x=file:one");
  BOOST_TEST(has_problem("Duplicate value"));
}

BOOST_FIXTURE_TEST_CASE(the_uid_is_a_stable_digest_and_changes_with_the_spec, Fixture) {
  speak("file", {{"a.yaml", pod("a")}});
  const auto uid = first_pod().metadata.uid;
  BOOST_TEST(uid.size() == 36U);
  BOOST_TEST(annotation(kConfigHash) == uid);
  BOOST_TEST(annotation(kConfigSource) == "file");
  BOOST_TEST(first_pod().spec.node_name == "node1");

  // Another document, the same pod: nothing restarts.
  speak("file", {{"elsewhere.yaml", pod("a")}}, kLater);
  BOOST_TEST(first_pod().metadata.uid == uid);
  BOOST_TEST(annotation(kConfigSeen) == "2026-01-02T03:04:05.000000Z");

  speak("file", {{"elsewhere.yaml", pod("a", "other")}}, kLater);
  BOOST_TEST(first_pod().metadata.uid != uid);
  BOOST_TEST(annotation(kConfigSeen) == "2026-01-02T04:04:05.000000Z");

  Fixture other_node(Rules{.node_name = "node2"});
  other_node.speak("file", {{"a.yaml", pod("a")}});
  BOOST_TEST(other_node.first_pod().metadata.uid != uid);
}

BOOST_FIXTURE_TEST_CASE(an_object_is_created_when_it_is_first_taken_and_stays_so_old, Fixture) {
  auto created = [](const Fixture& fixture) {
    return fixture.ledger.state().config_maps.at(0).object.metadata.creation_timestamp->seconds;
  };
  const int64_t first = kNow.microseconds / 1'000'000;
  speak("file", {{"a.yaml", config_map("m", "one")}});
  BOOST_TEST(created(*this) == first);
  speak("file", {{"b.yaml", config_map("m", "two")}}, kLater);
  BOOST_TEST(created(*this) == first);

  std::vector<Accepted> stored;
  for (const auto& one : ledger.accepted("file")) stored.push_back(*one);
  Fixture reborn;
  reborn.ledger.restore("file", stored);
  BOOST_TEST(!reborn.speak("file", {{"b.yaml", config_map("m", "two")}}, kLater).changed);
  BOOST_TEST(created(reborn) == first);

  auto given = config_map("m", "two");
  given.insert(given.find("  name:"), "  creationTimestamp: 2020-01-01T00:00:00Z\n");
  speak("file", {{"b.yaml", given}}, kLater);
  BOOST_TEST(created(*this) == 1'577'836'800);
}

BOOST_FIXTURE_TEST_CASE(a_given_uid_stays_and_the_hash_still_tells_an_update, Fixture) {
  const std::string manifest =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: 0e4c-given}\nspec: {containers: [{name: c, image: "
      "IMAGE}]}\n";
  auto with = [&](std::string_view image) { return std::string(manifest).replace(manifest.find("IMAGE"), 5, image); };
  speak("etcd", {{"k", with("one")}});
  const auto hash = annotation(kConfigHash);
  speak("etcd", {{"k", with("two")}});
  BOOST_TEST(first_pod().metadata.uid == "0e4c-given");
  BOOST_TEST(annotation(kConfigHash) != hash);
}

BOOST_FIXTURE_TEST_CASE(a_uid_that_would_be_a_path_is_refused, Fixture) {
  speak("push", {{"p",
                  "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: ../../etc}\n"
                  "spec: {containers: [{name: c, image: i}]}\n"}});
  BOOST_TEST(pods().empty());
  BOOST_TEST(has_problem("metadata.uid"));
}

BOOST_FIXTURE_TEST_CASE(of_two_pods_with_one_uid_the_later_waits_until_the_first_goes, Fixture) {
  auto manifest = [](std::string_view name) {
    return fmt::format(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, uid: same}}\n"
        "spec: {{containers: [{{name: c, image: i}}]}}\n",
        name);
  };
  speak("file", {{"b.yaml", manifest("b")}});
  speak("file", {{"b.yaml", manifest("b")}, {"a.yaml", manifest("a")}});
  BOOST_TEST(pods() == "b=file:i");
  BOOST_TEST(has_problem("metadata.uid: Duplicate value: Pod default/b"));
  speak("file", {{"a.yaml", manifest("a")}});
  BOOST_TEST(pods() == "a=file:i");
  BOOST_TEST(ledger.problems().empty());
}

BOOST_FIXTURE_TEST_CASE(annotations_of_ours_in_a_manifest_are_not_believed, Fixture) {
  speak("url", {{"u",
                 "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n"
                 "    kubernetes.io/config.source: file\n    kubernetes.io/config.hash: forged\n"
                 "spec: {containers: [{name: c, image: i}]}\n"}});
  BOOST_TEST(annotation(kConfigSource) == "http");
  BOOST_TEST(source_of(first_pod()) == "url");
  BOOST_TEST(annotation(kConfigHash) == first_pod().metadata.uid);
}

BOOST_FIXTURE_TEST_CASE(what_a_cluster_acts_on_is_no_warning_there, Fixture) {
  const std::string text =
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  uid: 0b2ac6f0-6d4e-4f6c-9a5e-2a6a2f2b9c11\n"
      "spec: {nodeSelector: {disk: ssd}, tolerations: [{key: x, operator: Exists}], containers: [{name: c, image: "
      "i}]}\n";
  speak("apiserver", {{"pods/default/a", text}});
  BOOST_TEST(ledger.problems().empty());
  BOOST_TEST(!api::is_static(first_pod()));
  speak("apiserver", {});
  speak("etcd", {{"/registry/hosts/node1/pods/default/a", text}});
  BOOST_TEST(ledger.problems().empty());
  speak("etcd", {});
  speak("file", {{"a.yaml", text}});
  BOOST_TEST(ledger.problems().size() == 2u);
  BOOST_TEST(api::is_static(first_pod()));
}

BOOST_FIXTURE_TEST_CASE(of_etcd_the_masters_copies_run_and_mirrors_do_not, Fixture) {
  const std::string spec = "spec: {containers: [{name: c, image: i}]}\nstatus: {phase: Succeeded}\n";
  const std::string head =
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  uid: 0b2ac6f0-6d4e-4f6c-9a5e-2a6a2f2b9c11\n";
  speak("etcd",
        {{"/registry/hosts/node1/pods/default/a", head + "  annotations: {kubernetes.io/config.mirror: x}\n" + spec}});
  BOOST_TEST(pods() == "");
  speak("etcd", {{"/registry/hosts/node1/pods/default/a", head + spec}});
  BOOST_TEST(!api::is_static(first_pod()));
  BOOST_TEST(api::is_over(first_pod()));
  speak("etcd", {{"/registry/hosts/node1/hand", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n" + spec}});
  BOOST_TEST(api::is_static(first_pod()));
}

BOOST_FIXTURE_TEST_CASE(a_restored_set_stands_until_its_source_speaks, Fixture) {
  speak("url", {{"u", both(pod("a"), pod("b"))}});
  std::vector<Accepted> stored;
  for (const auto& one : ledger.accepted("url")) stored.push_back(*one);

  Fixture reborn;
  reborn.ledger.restore("url", stored);
  BOOST_TEST(reborn.pods() == pods());
  reborn.speak("file", {{"c.yaml", pod("c")}});
  BOOST_TEST(reborn.pods() == "a=url:busybox b=url:busybox c=file:busybox");
  // The same again is no change at all: not even config.seen.
  BOOST_TEST(!reborn.speak("url", {{"u", both(pod("a"), pod("b"))}}, kLater).changed);
  // A broken body after the reboot keeps what was stored.
  reborn.speak("url", {{"u", "{"}});
  BOOST_TEST(reborn.pods() == "a=url:busybox b=url:busybox c=file:busybox");
  reborn.speak("url", {{"u", pod("b")}});
  BOOST_TEST(reborn.pods() == "b=url:busybox c=file:busybox");
}

BOOST_AUTO_TEST_CASE(a_source_may_hold_so_many_objects_and_what_it_held_stays) {
  Fixture fixture(Rules{.node_name = "node1", .limits = {.source_objects = 2}});
  fixture.speak("file", {{"a.yaml", pod("a")}, {"b.yaml", pod("b")}});
  fixture.speak("file", {{"a.yaml", pod("a", "new")}, {"b.yaml", pod("b")}, {"c.yaml", both(pod("c"), pod("d"))}});
  BOOST_TEST(fixture.pods() == "a=file:new b=file:busybox");
  BOOST_TEST(fixture.has_problem("the most it may"));
}

BOOST_FIXTURE_TEST_CASE(config_maps_and_services_come_through_in_order, Fixture) {
  std::string text;
  for (int i = 40; i > 0; --i) text += config_map(fmt::format("m{:02}", i), "v") + "---\n";
  speak("file", {{"a.yaml", text}});
  BOOST_TEST(ledger.state().config_maps.size() == 40U);
  speak("etcd", {{"k", config_map("m20x", "new")}});
  const auto& maps = ledger.state().config_maps;
  BOOST_TEST(maps.size() == 41U);
  BOOST_TEST(std::ranges::is_sorted(maps, {}, [](const auto& one) { return one.object.metadata.name; }));
  BOOST_TEST(maps[20].object.metadata.name == "m20x");
}

// The property that matters most, against a model of two lines: what a source wants is what
// it said last, whatever the others do or do not do; and patching equals rebuilding.
BOOST_AUTO_TEST_CASE(the_silence_of_one_source_never_removes_or_delays_what_others_want) {
  std::mt19937 random(7);
  auto up_to = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const std::vector<std::string> order = {"file", "etcd", "apiserver", "url", "push"};
  Fixture fixture;
  std::map<std::string, std::map<std::string, std::string>> model;  // source → pod → image
  for (int step = 0; step < 150; ++step) {
    const auto& source = order[static_cast<size_t>(up_to(5))];
    Fixture::Texts texts;
    auto& said = model[source];
    if (up_to(8) == 0) {
      // It fails to be read: what it said stands.
      for (const auto& [name, image] : said) texts[name] = up_to(2) == 0 ? "!away" : "{broken";
    } else {
      said.clear();
      for (int i = up_to(30); i > 0; --i) said[fmt::format("p{:02}", up_to(40))] = fmt::format("i{}", up_to(3));
      for (const auto& [name, image] : said) texts[name] = pod(name, image);
    }
    fixture.speak(source, texts);

    std::map<std::string, std::string> expected;
    for (const auto& one : order) {
      for (const auto& [name, image] : model[one]) expected.emplace(name, fmt::format("{}={}:{}", name, one, image));
    }
    std::string text;
    for (const auto& [name, line] : expected) text += (text.empty() ? "" : " ") + line;
    BOOST_REQUIRE_EQUAL(fixture.pods(), text);
  }
}

BOOST_AUTO_TEST_CASE(the_source_policy_is_parsed_over_its_default) {
  const auto policy = SourcePolicy::parse("file=baseline,url=restricted");
  BOOST_REQUIRE(policy);
  BOOST_TEST((policy->level("file") == api::SecurityLevel::baseline));
  BOOST_TEST((policy->level("url") == api::SecurityLevel::restricted));
  BOOST_TEST((policy->level("push") == api::SecurityLevel::baseline));
  BOOST_TEST((policy->level("etcd") == api::SecurityLevel::privileged));
  BOOST_TEST((policy->level("somebody") == api::SecurityLevel::restricted));
  BOOST_TEST(SourcePolicy::parse(kDefaultSourcePolicy).has_value());
  BOOST_TEST(SourcePolicy::parse("").has_value());
  for (const auto* wrong : {"file", "files=baseline", "file=strict", "file=baseline,file=baseline", "=", ","}) {
    BOOST_TEST_CONTEXT(wrong) { BOOST_TEST(!SourcePolicy::parse(wrong)); }
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::sources
