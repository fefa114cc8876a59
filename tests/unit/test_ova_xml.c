/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ova_xml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                                                                                                          \
	"<value><struct><member><name>version</name><value><struct><member><name>export_vsn</name><value>2</value></" \
	"member>"                                                                                                     \
	"</struct></value></member><member><name>objects</name><value><array><data>\n"
#define TAIL "</data></array></value></member></struct></value>"
#define FIELD(name, text) "<member><name>" name "</name><value>" text "</value></member>"
#define OBJECT(class, id, fields)                               \
	"<value><struct>" FIELD("class", class) FIELD("id", id) \
		FIELD("snapshot", "<struct>" fields "</struct>") "</struct></value>\n"
#define VM(name) OBJECT("VM", "Ref:1", FIELD("name_label", name) FIELD("uuid", "11111111-2222-3333-4444-555555555555"))
#define VBD(id, vdi, device) OBJECT("VBD", id, FIELD("type", "Disk") FIELD("VDI", vdi) FIELD("userdevice", device))
#define VDI(id, name, size) \
	OBJECT("VDI", id,   \
	       FIELD("name_label", name) FIELD("virtual_size", size) FIELD("SR", "Ref:900") FIELD("type", "user"))
#define SR OBJECT("SR", "Ref:900", FIELD("content_type", "user"))

static enum err_code parse(const char *xml, struct ova *ova, struct err *err)
{
	return ova_xml_parse((const uint8_t *)xml, strlen(xml), ova, err);
}

static void parse_good(const char *xml, struct ova *ova)
{
	struct err err = {0};
	if (parse(xml, ova, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

static void assert_refused(const char *xml, enum err_code code, const char *message)
{
	struct ova ova = {.export_version = 77};
	struct err err = {0};
	assert_int_equal(parse(xml, &ova, &err), code);
	if (!strstr(err.msg, message))
		fail_msg("'%s' does not say '%s'", err.msg, message);
	assert_int_equal(ova.export_version, 77);
}

static void test_ova_xml__finds_vm_and_disks_in_stream_order(void **state)
{
	(void)state;
	struct ova ova;
	char text[UUID_TEXT_SIZE];
	parse_good("<?xml version=\"1.0\"?>\n" HEAD VM("web &amp; db") VBD("Ref:50", "Ref:2", "0")
			   VBD("Ref:51", "Ref:10", "1") VDI("Ref:2", "root", "8589934592")
				   VDI("Ref:10", "data", "<i8> 123456789012 </i8>") SR TAIL,
		   &ova);
	assert_string_equal(ova.vm_name, "web & db");
	assert_string_equal(uuid_format(&ova.vm_uuid, text), "11111111-2222-3333-4444-555555555555");
	assert_int_equal(ova.export_version, 2);
	assert_int_equal(ova.disk_count, 2);
	assert_string_equal(ova.disks[0].ref, "Ref:10");
	assert_string_equal(ova.disks[0].name, "data");
	assert_int_equal(ova.disks[0].size_bytes, 123456789012);
	assert_false(ova.disks[0].suspend);
	assert_true(uuid_is_null(&ova.disks[0].uuid));
	assert_string_equal(ova.disks[1].ref, "Ref:2");
	assert_int_equal(ova.disks[1].size_bytes, 8589934592);
	ova_release(&ova);
}

static void test_ova_xml__member_order_and_layout_do_not_matter(void **state)
{
	(void)state;
	struct ova ova;
	parse_good(
		"<value>\n <struct>\n  <member>\n   <name>objects</name>\n   <value>\n<array> <data>\n"
		"<value><struct><member><value><struct>" FIELD("virtual_size", "<string>7</string>") FIELD(
			"name_label", "\n<string></string>\n")
			FIELD("SR",
			      "OpaqueRef:NULL") "</struct></value><name>snapshot</name></member></struct></value>"
						"<value><struct>" FIELD(
							"snapshot",
							"<struct>" FIELD("type", "<string>suspend</string>\n") FIELD(
								"virtual_size", "<string>9</string>")
								FIELD("unknown", "<nil/>") FIELD("empty", "") FIELD(
									"nested",
									"<struct>" FIELD("virtual_size",
											 "5") "</struct>") "</struct>")
							FIELD("id", "<string>Ref:4</string>") FIELD(
								"class",
								"\n<string>VDI</string>\n") "</struct></value></data></"
											    "array></value></member></"
											    "struct></value>\n<!-- end "
											    "-->\n",
		&ova);
	assert_int_equal(ova.export_version, 0);
	assert_string_equal(ova.vm_name, "");
	assert_int_equal(ova.disk_count, 1);
	assert_string_equal(ova.disks[0].ref, "Ref:4");
	assert_string_equal(ova.disks[0].name, "Ref:4");
	assert_int_equal(ova.disks[0].size_bytes, 9);
	assert_true(ova.disks[0].suspend);
	ova_release(&ova);
}

static void test_ova_xml__leaves_out_cds_empty_drives_and_iso_libraries(void **state)
{
	(void)state;
	struct ova ova;
	parse_good(HEAD VM("x") OBJECT("VBD", "Ref:50", FIELD("type", "CD") FIELD("VDI", "Ref:2"))
			   OBJECT("VBD", "Ref:51", FIELD("type", "Floppy") FIELD("VDI", "Ref:3"))
				   OBJECT("VBD", "Ref:52", FIELD("type", "Disk") FIELD("VDI", "OpaqueRef:NULL")) VBD(
					   "Ref:53", "Ref:4", "3") VBD("Ref:54", "Ref:3", "4")
					   VDI("Ref:2", "tools.iso", "1") VDI("Ref:3", "floppy", "1474560") OBJECT(
						   "VDI", "Ref:4", FIELD("virtual_size", "5") FIELD("SR", "Ref:901"))
						   OBJECT("SR", "Ref:901", FIELD("content_type", "iso")) SR TAIL,
		   &ova);
	assert_int_equal(ova.disk_count, 1);
	assert_string_equal(ova.disks[0].name, "floppy");
	ova_release(&ova);
}

static void test_ova_xml__names_are_unique_and_clean(void **state)
{
	(void)state;
	struct ova ova;
	parse_good(HEAD VM("x") VBD("Ref:50", "Ref:10", "0") VBD("Ref:51", "Ref:11", "1") VBD("Ref:52", "Ref:12", "27")
			   VBD("Ref:53", "Ref:13", "no") VBD("Ref:54", "Ref:14", "4") VBD("Ref:55", "Ref:15", "5")
				   VDI("Ref:10", "disk", "1") VDI("Ref:11", "disk", "1") VDI("Ref:12", "", "1")
					   VDI("Ref:13", "", "1") VDI("Ref:14", "xvda", "1")
						   VDI("Ref:15", "a&#10;b&#127;\xc3\xa4", "1") SR TAIL,
		   &ova);
	static const char *names[] = {"Ref:10", "xvdb", "xvdab", "Ref:13", "xvda", "a_b_\xc3\xa4"};
	assert_int_equal(ova.disk_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(ova.disks[i].name, names[i]);
	ova_release(&ova);
}

static void test_ova_xml__long_names_are_cut_between_characters(void **state)
{
	(void)state;
	struct ova ova;
	char label[400] = "", xml[4000];
	for (size_t i = 0; i < 150; i++)
		strcat(label, i ? "\xc3\xa4" : "x");
	snprintf(xml, sizeof(xml), HEAD "%s%s%s" VBD("Ref:50", "Ref:10", "0") VDI("Ref:10", "n", "1") SR TAIL,
		 "<value><struct>" FIELD("class", "VM")
			 FIELD("id", "Ref:1") "<member><name>snapshot</name><value><struct><member>"
					      "<name>name_label</name><value>",
		 label, "</value></member></struct></value></member></struct></value>");
	parse_good(xml, &ova);
	assert_int_equal(strlen(ova.vm_name), 255);
	assert_memory_equal(ova.vm_name, label, 255);
	ova_release(&ova);
	label[0] = 'y';
	strcpy(label + 254, "\xe2\x82\xac");
	memset(label + 1, 'y', 253);
	snprintf(xml, sizeof(xml), HEAD "%s%s%s" TAIL,
		 "<value><struct>" FIELD("class", "VM")
			 FIELD("id", "Ref:1") "<member><name>snapshot</name><value><struct><member>"
					      "<name>name_label</name><value>",
		 label, "</value></member></struct></value></member></struct></value>");
	parse_good(xml, &ova);
	assert_int_equal(strlen(ova.vm_name), 254);
	ova_release(&ova);
}

static void test_ova_xml__prefers_the_vm_over_its_snapshots(void **state)
{
	(void)state;
	struct ova ova;
	parse_good(HEAD OBJECT("VM", "Ref:1",
			       FIELD("name_label", "dom0") FIELD("is_control_domain", "<boolean>1</boolean>"))
			   OBJECT("VM", "Ref:2",
				  FIELD("name_label", "snap") FIELD("is_a_snapshot", "<boolean>1</boolean>"))
				   OBJECT("VM", "Ref:3",
					  FIELD("name_label", "live") FIELD("is_a_snapshot", "<boolean>0</boolean>"))
					   TAIL,
		   &ova);
	assert_string_equal(ova.vm_name, "live");
	assert_int_equal(ova.disk_count, 0);
	ova_release(&ova);
}

static void test_ova_xml__refuses_references_that_lead_nowhere(void **state)
{
	(void)state;
	assert_refused(HEAD VBD("Ref:50", "Ref:2", "0") TAIL, ERR_CORRUPT,
		       "VBD 'Ref:50' is of a disk that is not there");
	assert_refused(HEAD VBD("Ref:50", "Ref:900", "0") SR TAIL, ERR_CORRUPT,
		       "VBD 'Ref:50' is of a disk that is not there");
	assert_refused(HEAD VBD("Ref:50", "", "0") TAIL, ERR_CORRUPT, "VBD 'Ref:50' is of a disk that is not there");
	assert_refused(HEAD SR SR TAIL, ERR_CORRUPT, "two objects called 'Ref:900'");
	assert_refused(HEAD VBD("Ref:50", "../x", "0") VDI("../x", "n", "1") TAIL, ERR_CORRUPT,
		       "an unusable reference");
}

static void test_ova_xml__refuses_sizes_that_are_none(void **state)
{
	(void)state;
#define SIZED(size) HEAD VBD("Ref:50", "Ref:2", "0") VDI("Ref:2", "n", size) SR TAIL
	static const char *documents[] = {SIZED(""),
					  SIZED("0"),
					  SIZED("-5"),
					  SIZED("0x10"),
					  SIZED("9223372036854775808"),
					  SIZED("12 34"),
					  SIZED("1e9"),
					  SIZED("99999999999999999999999999")};
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		assert_refused(documents[i], ERR_CORRUPT, "no usable virtual_size for disk 'Ref:2'");
	assert_refused(
		"<value><struct>" FIELD("version", "<struct>" FIELD("export_vsn", "x") "</struct>") "</struct></value>",
		ERR_CORRUPT, "ova.xml: ");
}

static void test_ova_xml__refuses_what_is_no_xml_rpc_value(void **state)
{
	(void)state;
	assert_refused("", ERR_CORRUPT, "not well-formed");
	assert_refused("hello", ERR_CORRUPT, "not well-formed");
	assert_refused(HEAD, ERR_CORRUPT, "not well-formed: line ");
	assert_refused(HEAD TAIL "<value/>", ERR_CORRUPT, "not well-formed");
	assert_refused("<value>\x01</value>", ERR_CORRUPT, "not well-formed");
	assert_refused("<value>\xff</value>", ERR_CORRUPT, "not well-formed");
	assert_refused("<html><body/></html>", ERR_CORRUPT, "line 1 has a <html>");
	assert_refused("<value><struct><value/></struct></value>", ERR_CORRUPT, "has a <value> where");
	assert_refused("<value><string><value/></string></value>", ERR_CORRUPT, "has a <value> where");
	assert_refused("<value><array><value/></array></value>", ERR_CORRUPT, "has a <value> where");
}

static void test_ova_xml__refuses_document_types_and_entities(void **state)
{
	(void)state;
	assert_refused("<!DOCTYPE value [<!ENTITY a 'b'>]>" HEAD VM("&a;") TAIL, ERR_CORRUPT,
		       "declares or uses entities");
	assert_refused("<!DOCTYPE value SYSTEM 'file:///etc/passwd'>" HEAD TAIL, ERR_CORRUPT,
		       "declares or uses entities");
	assert_refused("<!DOCTYPE v [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><value>&a;</value>", ERR_CORRUPT,
		       "declares or uses entities");
	assert_refused("<!DOCTYPE v [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
		       "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]><value>&c;</value>",
		       ERR_CORRUPT, "ova.xml");
	assert_refused(HEAD VM("&undeclared;") TAIL, ERR_CORRUPT, "ova.xml");
}

static void test_ova_xml__keeps_libxml2_off_standard_error(void **state)
{
	static const uint8_t utf32[] = {'<', 0, 0, 0, 0xff};
	struct ova ova;
	struct err err = {0};
	char text[16];
	FILE *caught = tmpfile();
	int kept = dup(STDERR_FILENO);
	(void)state;
	assert_true(caught && kept >= 0 && dup2(fileno(caught), STDERR_FILENO) >= 0);
	enum err_code code = ova_xml_parse(utf32, sizeof(utf32), &ova, &err);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_int_equal(code, ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "ova.xml is not well-formed"));
	rewind(caught);
	assert_int_equal(fread(text, 1, sizeof(text), caught), 0);
	fclose(caught);
}

/* `before` and `after` around `count` times `middle`. */
static char *repeat(const char *before, const char *middle, size_t count, const char *after)
{
	size_t n = strlen(middle);
	char *text = malloc(strlen(before) + n * count + strlen(after) + 1), *p = text;
	if (!text)
		abort();
	p = stpcpy(p, before);
	for (size_t i = 0; i < count; i++, p += n)
		memcpy(p, middle, n);
	strcpy(p, after);
	return text;
}

static void test_ova_xml__bounds_depth_and_count(void **state)
{
	(void)state;
	char *deep = repeat("", "<value><array><data>", 40, "");
	assert_refused(deep, ERR_LIMIT, "nests values more than 32 deep");
	free(deep);
	char *many = repeat(
		HEAD, "<value><struct>" FIELD("class", "SR") FIELD("snapshot", "<struct></struct>") "</struct></value>",
		OVA_OBJECTS_MAX + 1, TAIL);
	assert_refused(many, ERR_LIMIT, "more than 16384 objects");
	free(many);
	struct err err = {0};
	struct ova ova;
	assert_int_equal(ova_xml_parse((const uint8_t *)"", OVA_XML_MAX + 1, &ova, &err), ERR_LIMIT);
	assert_non_null(strstr(err.msg, "more than 64 MiB"));
}

static void test_ova_xml__bounds_the_number_of_disks(void **state)
{
	(void)state;
	char *xml = malloc(1000 * 1100), *p = xml;
	assert_non_null(xml);
	p = stpcpy(p, HEAD);
	for (unsigned i = 0; i <= XVA_DISKS_MAX; i++)
		p += sprintf(p,
			     OBJECT("VDI", "Ref:%u",
				    FIELD("type", "suspend") FIELD("virtual_size", "1") FIELD("name_label", "same")),
			     i);
	strcpy(p, TAIL);
	assert_refused(xml, ERR_LIMIT, "more than 1024 disks");
	free(xml);
}

static void test_ova_xml__reads_large_documents(void **state)
{
	(void)state;
	struct ova ova;
	/* 20 MiB of objects that do not matter, and one value of 2 MiB. */
	char *noise = repeat("", "0123456789abcdef", 131072, ""), *big = malloc(23000000);
	assert_non_null(big);
	char *p = stpcpy(big, HEAD);
	p = stpcpy(stpcpy(stpcpy(p, "<value><struct>" FIELD("class", "VTPM") "<member><name>snapshot</name><value>"),
			  noise),
		   "</value></member></struct></value>");
	while (p < big + 22000000)
		p = stpcpy(p,
			   OBJECT("network", "Ref:77", FIELD("name_label", "n") FIELD("blobs", "<struct></struct>")));
	stpcpy(p, VBD("Ref:50", "Ref:2", "0") VDI("Ref:2", "root", "4096") SR TAIL);
	parse_good(big, &ova);
	assert_int_equal(ova.disk_count, 1);
	assert_string_equal(ova.disks[0].name, "root");
	ova_release(&ova);
	free(big);
	free(noise);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ova_xml__finds_vm_and_disks_in_stream_order),
		cmocka_unit_test(test_ova_xml__member_order_and_layout_do_not_matter),
		cmocka_unit_test(test_ova_xml__leaves_out_cds_empty_drives_and_iso_libraries),
		cmocka_unit_test(test_ova_xml__names_are_unique_and_clean),
		cmocka_unit_test(test_ova_xml__long_names_are_cut_between_characters),
		cmocka_unit_test(test_ova_xml__prefers_the_vm_over_its_snapshots),
		cmocka_unit_test(test_ova_xml__refuses_references_that_lead_nowhere),
		cmocka_unit_test(test_ova_xml__refuses_sizes_that_are_none),
		cmocka_unit_test(test_ova_xml__refuses_what_is_no_xml_rpc_value),
		cmocka_unit_test(test_ova_xml__refuses_document_types_and_entities),
		cmocka_unit_test(test_ova_xml__keeps_libxml2_off_standard_error),
		cmocka_unit_test(test_ova_xml__bounds_depth_and_count),
		cmocka_unit_test(test_ova_xml__bounds_the_number_of_disks),
		cmocka_unit_test(test_ova_xml__reads_large_documents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
