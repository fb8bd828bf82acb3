package dbc

// readVersion reads: VERSION "text"
func (p *parser) readVersion() {
	p.file.Version = p.text("a version")
}

// readNewSymbols goes over the list of keywords behind NS_. A keyword belongs to the list when it is alone on its line.
func (p *parser) readNewSymbols() {
	p.mark(':', "NS_")
	for !p.err && p.tok.kind == kindWord {
		then := p.scan.following()
		if p.tok.first && isKeyword(p.tok.text) && then != 0 || then == ':' {
			return
		}
		p.next()
	}
}

// readNodes goes over the list of nodes behind BU_, or the bit timing behind BS_.
func (p *parser) readNodes() {
	nodes := p.last.text == "BU_"
	if p.tok.kind == ':' {
		p.next()
	}
	for !p.err && p.tok.kind != kindEnd && p.tok.kind != ';' {
		if p.tok.kind == kindWord && isKeyword(p.tok.text) {
			return
		}
		if p.tok.kind == kindString || p.tok.kind == kindOpen {
			p.fail("a name, found %s", p.tok.describe())
			return
		}
		if nodes && p.tok.kind == ':' { // the line of a statement whose keyword cannot be read
			p.fail("names of nodes, found %s", p.tok.describe())
			p.loseLine(p.scan.lineOf(p.tok), p.failure, false)
			return
		}
		p.next()
	}
}

// readComment reads: CM_ [BO_ identifier | SG_ identifier name | BU_ node | EV_ variable] "text" ;
func (p *parser) readComment() {
	line := p.last.line
	var apply func()
	switch p.object() {
	case "BO_":
		id := p.identifier()
		text := p.comment("a comment")
		apply = func() {
			for _, m := range p.messagesOf(id, line, "CM_") {
				m.Comment = text
			}
		}
	case "SG_":
		id, name := p.identifier(), p.signalName()
		text := p.comment("a comment")
		apply = func() {
			for _, s := range p.signalsOf(id, name, line, "CM_") {
				s.Comment = text
			}
		}
	case "BU_", "EV_":
		p.word("a name")
		p.comment("a comment")
	default:
		p.comment("a comment")
	}
	p.closeWith(apply)
}

// readTable reads: VAL_TABLE_ name { raw "text" } ;
func (p *parser) readTable() {
	name := p.word("a name of a value table")
	values := p.entries()
	p.close()
	if !p.err {
		p.tables[name] = sortedValues(values)
	}
}

// readValues reads: VAL_ identifier signal { raw "text" } ; or VAL_ identifier signal table ;
// A first word that is no number names an environment variable, which no frame carries.
func (p *parser) readValues() {
	line := p.last.line
	if p.tok.kind == kindWord {
		if _, number := parseInteger(p.tok.text); !number && !p.atEnd() {
			p.ignore()
			return
		}
	}
	id, name := p.identifier(), p.signalName()
	var table string
	var values []Value
	if _, number := parseInteger(p.tok.text); p.tok.kind == kindWord && !number && !p.atEnd() {
		table = p.word("a name of a value table")
	} else {
		values = p.entries()
	}
	values = sortedValues(values)
	p.closeWith(func() { p.setValues(id, name, line, table, values) })
}

// entries reads pairs of a raw value and a text.
func (p *parser) entries() []Value {
	var values []Value
	for !p.err && p.tok.kind != ';' && !p.atEnd() {
		raw := p.integer("a raw value", -1<<63, 1<<63-1)
		text := p.longText("a text for the value")
		values = append(values, Value{Raw: raw, Text: text})
	}
	return values
}

// readDefinition reads: BA_DEF_ [BO_ | SG_ | BU_ | EV_] "attribute" type … ; only enumerations of messages matter.
func (p *parser) readDefinition() {
	object := p.object()
	name := p.text("an attribute name")
	p.subject.attribute = name
	if object != "BO_" || p.err || p.tok.text != "ENUM" {
		if !p.err {
			p.ignore()
		}
		return
	}
	p.next()
	var texts []string
	for !p.err && (p.tok.kind == kindString || p.tok.kind == ',' || p.tok.kind == kindWord && !p.atEnd()) {
		switch p.tok.kind {
		case ',':
			p.next()
		case kindWord:
			texts = append(texts, p.word("a name of the enumeration"))
		default:
			texts = append(texts, p.text("a name of the enumeration"))
		}
	}
	p.understood()
	if p.close(); !p.err {
		p.enums[name] = texts
	}
}

// readDefault reads: BA_DEF_DEF_ "attribute" value ;
func (p *parser) readDefault() {
	name := p.text("an attribute name")
	p.subject.attribute = name
	value := p.attributeValue()
	p.close()
	if !p.err {
		p.defaults[name] = value
	}
}

// readAttribute reads: BA_ "attribute" [BO_ identifier | SG_ identifier name | BU_ node | EV_ variable] value ;
func (p *parser) readAttribute() {
	line := p.last.line
	var apply func()
	name := p.text("an attribute name")
	p.subject.attribute = name
	switch p.object() {
	case "BO_":
		id := p.identifier()
		value := p.attributeValue()
		apply = func() { p.setMessageAttribute(name, id, value, line) }
	case "SG_":
		id, signal := p.identifier(), p.signalName()
		value := p.attributeValue()
		apply = func() { p.setSignalAttribute(name, id, signal, value, line) }
	case "BU_", "EV_":
		p.word("a name")
		p.attributeValue()
	default:
		p.attributeValue()
	}
	if name == frameFormat { // without an object it is about a message that is not named
		p.understood()
	}
	p.closeWith(apply)
}

// attributeValue reads a string or a number.
func (p *parser) attributeValue() string {
	if p.tok.kind == kindString {
		return p.longText("an attribute value")
	}
	return p.word("an attribute value")
}

// readFloat reads: SIG_VALTYPE_ identifier signal : type ; with 0 integer, 1 float of 32 bits, 2 float of 64 bits.
func (p *parser) readFloat() {
	line := p.last.line
	id, name := p.identifier(), p.signalName()
	if p.tok.kind == ':' { // some tools leave it out
		p.next()
	}
	kind := p.integer("a value type", 0, 2)
	p.understood()
	about := p.subject
	p.closeWith(func() { p.setFloat(about, id, name, int(kind), line) })
}
