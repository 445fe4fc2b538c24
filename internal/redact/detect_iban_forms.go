package redact

// ibanForm returns what follows country and check digits, and the whole length; 0 for a country without account numbers of this kind. The
// forms are those of the SWIFT registry, and of the countries that are not in it but use them.
func ibanForm(country [2]byte) (form string, size int) {
	switch string(country[:]) {
	case "NO":
		form = "11n"
	case "BE":
		form = "12n"
	case "DK", "FI", "FO", "GL", "SD":
		form = "14n"
	case "FK":
		form = "2a12n"
	case "NL":
		form = "4a10n"
	case "SI":
		form = "15n"
	case "MK":
		form = "3n10c2n"
	case "AT", "BA", "EE", "LT", "MN", "XK":
		form = "16n"
	case "KZ", "LU":
		form = "3n13c"
	case "HR":
		form = "17n"
	case "LV":
		form = "4a13c"
	case "CH", "LI":
		form = "5n12c"
	case "CR", "DE", "ME", "RS", "VA":
		form = "18n"
	case "GE":
		form = "2a16n"
	case "BH":
		form = "4a14c"
	case "GB", "IE":
		form = "4a14n"
	case "BG":
		form = "4a6n8c"
	case "AE", "IL", "SO", "TL":
		form = "19n"
	case "OM":
		form = "3n16c"
	case "GI":
		form = "4a15c"
	case "IQ":
		form = "4a15n"
	case "MD":
		form = "20c"
	case "CZ", "ES", "SE", "SK", "TN":
		form = "20n"
	case "SA":
		form = "2n18c"
	case "PK", "RO":
		form = "4a16c"
	case "VG":
		form = "4a16n"
	case "AD":
		form = "8n12c"
	case "AO", "CV", "LY", "MZ", "PT", "ST":
		form = "21n"
	case "GW":
		form = "2c19n"
	case "DZ", "IR", "IS":
		form = "22n"
	case "TR":
		form = "5n17c"
	case "FR", "MC":
		form = "10n11c2n"
	case "IT", "SM":
		form = "1a10n12c"
	case "BI", "CF", "CG", "CM", "DJ", "GA", "GQ", "KM", "MG", "MR", "TD":
		form = "23n"
	case "GR":
		form = "7n16c"
	case "GT":
		form = "24c"
	case "HU", "MA", "PL":
		form = "24n"
	case "NE", "TG":
		form = "2a22n"
	case "BF", "BJ", "CI", "ML", "SN":
		form = "2c22n"
	case "AZ":
		form = "4a20c"
	case "HN", "NI", "SV":
		form = "4a20n"
	case "DO":
		form = "4c20n"
	case "BY":
		form = "4c4n16c"
	case "LB":
		form = "4n20c"
	case "AL", "CY":
		form = "8n16c"
	case "BR":
		form = "23n1a1c"
	case "EG":
		form = "25n"
	case "PS", "QA":
		form = "4a21c"
	case "UA":
		form = "6n19c"
	case "MU":
		form = "4a19n3a"
	case "KW":
		form = "4a22c"
	case "JO", "YE":
		form = "4a4n18c"
	case "SC":
		form = "4a20n3a"
	case "MT":
		form = "4a5n18c"
	case "LC":
		form = "4a24c"
	case "RU":
		form = "14n15c"
	default:
		return "", 0
	}
	return form, formSize(form)
}
