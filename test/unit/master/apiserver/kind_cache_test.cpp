#include "master/apiserver/kind_cache.h"

#include <boost/test/unit_test.hpp>

#include "api/codec.h"

namespace keelson::apiserver {
namespace {

VersionPtr pod(const std::string& name, int64_t revision, const std::string& node = "") {
  api::Pod pod;
  pod.metadata.name = name;
  pod.metadata.namespace_ = "default";
  pod.metadata.uid = "uid-" + name;
  pod.spec.node_name = node;
  return make_version(pod, api::encode_json(pod), revision, 0);
}

struct Seen : Observer {
  void changed(const Change& change) override {
    static constexpr const char* kTypes[] = {"added ", "modified ", "deleted "};
    told.push_back(kTypes[static_cast<int>(change.type)] + change.key + " " + std::to_string(change.revision));
    if (cache != nullptr) cache->forget(*this);
  }
  void reset() override { told.emplace_back("reset"); }
  std::vector<std::string> told;
  KindCache* cache = nullptr;  // forgotten at the first change
};

const std::string kWeb = "default/web";

BOOST_AUTO_TEST_CASE(the_version_is_put_into_the_text_as_a_codec_would) {
  api::Pod made;
  made.metadata.name = "web";
  made.metadata.namespace_ = "default";
  made.metadata.uid = "1234";
  made.metadata.annotations["x"] = R"("uid":"1234",)";
  const std::string value = api::encode_json(made);
  made.metadata.resource_version = "77";
  BOOST_CHECK_EQUAL(with_resource_version(value, "1234", 77), api::encode_json(made));
  const VersionPtr version = make_version(made, value, 77, 0);
  BOOST_CHECK_EQUAL(version->json, api::encode_json(version->object));
  std::string item;
  api::append_json_item(item, version->object);
  BOOST_CHECK_EQUAL("{" + std::string(version->item()), item);
}

BOOST_AUTO_TEST_CASE(the_metadata_is_found_in_the_text) {
  api::Pod made;
  made.metadata.name = "web";
  made.metadata.uid = "1234";
  made.metadata.annotations["x"] = R"(}"\{)";
  made.metadata.owner_references.push_back({.name = "a"});
  const VersionPtr version = make_version(made, api::encode_json(made), 77, 0);
  std::string metadata = "{";
  api::append_json_fields(metadata, api::type_of<api::ObjectMeta>(), &version->object.metadata());
  BOOST_CHECK_EQUAL(version->metadata(), metadata + "}");
  BOOST_CHECK_EQUAL(object_end("{{", 0), 0u);
  BOOST_CHECK_EQUAL(object_end(R"({"a":"\)", 0), 0u);
}

BOOST_AUTO_TEST_CASE(changes_are_told_in_order_and_remembered) {
  KindCache cache(api::resource_of<api::Pod>(), {});
  Seen seen;
  cache.observe(seen);
  cache.put(kWeb, pod("web", 5));
  cache.put(kWeb, pod("web", 7));
  cache.remove(kWeb, 9);
  cache.remove(kWeb, 10);  // is not there
  const std::vector<std::string> all = {"added default/web 5", "modified default/web 7", "deleted default/web 9"};
  BOOST_CHECK_EQUAL_COLLECTIONS(seen.told.begin(), seen.told.end(), all.begin(), all.end());
  Seen later;
  cache.replay(5, [&](const Change& change) { later.changed(change); });
  BOOST_CHECK_EQUAL_COLLECTIONS(later.told.begin(), later.told.end(), all.begin() + 1, all.end());
  BOOST_CHECK_EQUAL(cache.last_change(), 9);
}

BOOST_AUTO_TEST_CASE(a_deletion_shows_the_last_state_at_its_own_revision) {
  KindCache cache(api::resource_of<api::Pod>(), {});
  cache.put(kWeb, pod("web", 5));
  cache.remove(kWeb, 9);
  cache.replay(5, [&](const Change& change) {
    BOOST_CHECK_EQUAL(last_state(change)->object.metadata().resource_version, "9");
    BOOST_CHECK_EQUAL(change.previous->object.metadata().resource_version, "5");
  });
}

BOOST_AUTO_TEST_CASE(what_was_before_can_be_told_from_what_is) {
  KindCache cache(api::resource_of<api::Pod>(), {});
  cache.put("default/a", pod("a", 1));
  cache.put("default/b", pod("b", 2));
  cache.put("default/a", pod("a", 3));
  cache.remove("default/b", 4);
  cache.put("default/c", pod("c", 5));
  const Objects then = cache.difference(2);
  BOOST_REQUIRE_EQUAL(then.size(), 3u);
  BOOST_CHECK_EQUAL(then.at("default/a")->revision, 1);
  BOOST_CHECK_EQUAL(then.at("default/b")->revision, 2);
  BOOST_CHECK(then.at("default/c") == nullptr);
  BOOST_CHECK(cache.difference(5).empty());
}

BOOST_AUTO_TEST_CASE(the_history_is_bounded_and_says_where_it_begins) {
  KindCache cache(api::resource_of<api::Pod>(), {.changes = 3});
  for (int64_t revision = 1; revision <= 5; ++revision) cache.put(kWeb, pod("web", revision));
  BOOST_CHECK_EQUAL(cache.history_start(), 2);
  KindCache small(api::resource_of<api::Pod>(), {.changes = 100, .bytes = 1});
  small.put(kWeb, pod("web", 1));
  small.put(kWeb, pod("web", 2));
  BOOST_CHECK_EQUAL(small.history_start(), 2);
}

BOOST_AUTO_TEST_CASE(pods_are_found_by_their_node) {
  KindCache cache(api::resource_of<api::Pod>(), {});
  cache.put("default/a", pod("a", 1, "n1"));
  cache.put("default/b", pod("b", 2));
  BOOST_REQUIRE(cache.on_node("n1") != nullptr);
  BOOST_CHECK_EQUAL(cache.on_node("n1")->size(), 1u);
  cache.put("default/b", pod("b", 3, "n1"));
  BOOST_CHECK_EQUAL(cache.on_node("n1")->size(), 2u);
  BOOST_CHECK_EQUAL(cache.on_node("n1")->at("default/b")->revision, 3);
  cache.remove("default/a", 4);
  cache.put("default/b", pod("b", 5, "n2"));
  BOOST_CHECK(cache.on_node("n1") == nullptr);
}

BOOST_AUTO_TEST_CASE(an_observer_may_go_while_it_is_told) {
  KindCache cache(api::resource_of<api::Pod>(), {});
  Seen first, second;
  first.cache = &cache;
  cache.observe(first);
  cache.observe(second);
  cache.put(kWeb, pod("web", 1));
  cache.put(kWeb, pod("web", 2));
  cache.load({}, 3);
  BOOST_CHECK_EQUAL(first.told.size(), 1u);
  BOOST_CHECK_EQUAL(second.told.size(), 3u);
  BOOST_CHECK_EQUAL(second.told.back(), "reset");
  BOOST_CHECK_EQUAL(cache.history_start(), 3);
}

}  // namespace
}  // namespace keelson::apiserver
