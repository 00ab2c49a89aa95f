// `postern cert import`: a folder with any files in it, by name and content.

#include "identity/import.h"

#include "base/fake_disk.h"
#include "fuzz/target.h"
#include "identity/group_file.h"
#include "identity/state_folder.h"
#include "identity/test_pkcs12.h"

namespace postern::fuzz {
namespace {

constexpr const char* kNames[] = {"a.pem", "b.der", "c.key", "group.postern", "d.p12", "e.txt"};
constexpr std::size_t kFilesMax = 4;

/// Puts into the store folder what the input says.
ImportRequest request_with(FakeDisk& disk, ByteView bytes) {
  claim(disk.make_directories("store").has_value() && disk.make_directories("state").has_value(),
        "folders");
  Input in(bytes);
  for (std::size_t i = 0; i < kFilesMax && !in.empty(); ++i) {
    const char* name = kNames[in.u8() % std::size(kNames)];
    disk.set_contents(std::filesystem::path("store") / name, to_bytes(in.piece()));
  }
  ImportRequest request;
  request.subject_name = "gw1.site.example";
  request.store_folder = "store";
  request.state_folder = "state";
  request.now = wall_from_ms(1'800'000'000'000);
  return request;
}

}  // namespace

void one_input(ByteView bytes) {
  FakeDisk disk;
  const ImportRequest request = request_with(disk, bytes);
  const auto examined = examine_certificate(disk, request);
  claim(disk.list("state")->empty(), "examining changes nothing");
  const auto imported = import_certificate(disk, request);
  if (!imported) {
    claim(!imported.error().message.empty(), "a refusal has words");
    claim(!disk.exists("state/tls/key.pem").value_or(true), "and nothing is installed");
    return;
  }
  claim(examined && examined->passed() && imported->passed(),
        "only what meets every requirement is installed");
  claim(StateFolder(disk, "state").tls().has_value(), "and what is installed can be used");
  const auto twice = import_certificate(disk, request);
  claim(twice && twice->already_installed, "twice is no harm");
}

std::vector<Bytes> seeds() {
  using testing_support::make;
  const auto root = make(testing_support::authority_recipe("Root"));
  const auto leaf = make({}, &root);
  const GroupFile group{"corp",
                        {{"ms1.home.example", "192.0.2.1:5723"}},
                        PrivateKey::generate().public_key(),
                        Anchors::from_certificates({root.certificate}).value()};
  Writer good, der, half, locked, container;
  good.u8(0);
  put_piece(good, as_bytes(leaf.certificate.pem() + private_key_pem(leaf.key.get())));
  half.bytes(good.written());
  good.u8(3);
  put_piece(good, as_bytes(encode_group_file(group)));
  der.u8(1);
  put_piece(der, leaf.certificate.der());
  locked.bytes(half.written()).u8(4);
  put_piece(locked, testing_support::pkcs12_of(leaf, "secret"));
  container.u8(4);
  put_piece(container, testing_support::pkcs12_of(leaf, ""));
  container.u8(3);
  put_piece(container, as_bytes(encode_group_file(group)));
  FakeDisk disk;
  claim(import_certificate(disk, request_with(disk, good.written())).has_value(),
        "a seed is installed, so what follows that is reached");
  return {good.take(), half.take(), der.take(), locked.take(), container.take()};
}

}  // namespace postern::fuzz
